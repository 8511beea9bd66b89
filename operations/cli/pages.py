"""`sign-in-link`: into the approval pages while mail does not work yet."""

import os
import time
from typing import Annotated
from urllib.parse import quote

import typer

from operations.cli.options import AsJson, Stack, StackFile, print_json
from operations.cli.place import Cloud, find_place
from operations.cli.trouble import ExitCode, Trouble, tells_trouble


@tells_trouble
def sign_in_link(
    email: Annotated[str, typer.Argument(help="Whose link: an address that may ask or approve.")],
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs somebody in, once, within 15 minutes. Whoever has it is that person.

    Example: notifier sign-in-link ann@example.com --stack notifier
    """
    url = new_link(Cloud(find_place(stack, stack_file)), email)
    if as_json:
        print_json({"email": email, "url": url})
    else:
        typer.echo(url)


def new_link(cloud: Cloud, email: str) -> str:
    """A link as the app itself would mail it. Raises Trouble."""
    from approval.access import Access  # noqa: PLC0415 - the approval app's libraries, only here
    from approval.config import read_settings  # noqa: PLC0415
    from approval.people import address_of  # noqa: PLC0415
    from approval.sign_in import Authenticator  # noqa: PLC0415

    place = cloud.place
    if place.approval is None or place.pages is None:
        raise Trouble(ExitCode.NOT_FOUND, "this stack has no approval pages", "deploy it with MailFrom=…")
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=place.approval)
    settings = read_settings({**os.environ, **configuration["Environment"]["Variables"]})
    secret = cloud.client("secretsmanager").get_secret_value(SecretId=settings.signing_secret_arn)["SecretString"]
    access = Access(cloud.client("dynamodb"), settings.approval_table)
    authenticator = Authenticator(access, secret.encode(), settings.requesters, settings.approvers)
    address = address_of(email)
    if address is None or not authenticator.person(address).is_known:
        raise Trouble(
            ExitCode.NOT_FOUND, f"{email} may neither ask nor approve", "add it to Requesters or Approvers, and deploy"
        )
    return f"{place.pages}/link?t={quote(authenticator.new_link(address, '', int(time.time())))}"
