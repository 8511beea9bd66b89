"""`sign-in-link`: a way into the approval pages while mail does not work yet."""

import os
import time
from typing import Annotated
from urllib.parse import quote

import typer

from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, Stack, StackFile, print_json


@reports_errors
def sign_in_link(
    email: Annotated[
        str,
        typer.Argument(
            metavar="EMAIL", help="Whom the link signs in: an address that may ask for or approve campaigns."
        ),
    ],
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs one person in, once, within 15 minutes. Keep it secret: it needs no password.

    Example: notifier sign-in-link ann@example.com --stack notifier
    """
    url = new_link(Cloud(find_deployment(stack, stack_file)), email)
    if as_json:
        print_json({"email": email, "url": url})
    else:
        typer.echo(url)


def new_link(cloud: Cloud, email: str) -> str:
    """A link as the app itself would mail it. Raises CommandError where the address may not sign in."""
    from approval.access import Access  # noqa: PLC0415 - the approval app's libraries, only here
    from approval.config import read_settings  # noqa: PLC0415
    from approval.people import address_of  # noqa: PLC0415
    from approval.sign_in import Authenticator  # noqa: PLC0415

    deployment = cloud.deployment
    if deployment.approval is None or deployment.pages is None:
        raise CommandError(ExitCode.NOT_FOUND, "this stack has no approval pages", "deploy it with MailFrom=…")
    # The function's own settings and secret, so that the link is one that it accepts.
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=deployment.approval)
    settings = read_settings({**os.environ, **configuration["Environment"]["Variables"]})
    secret = cloud.client("secretsmanager").get_secret_value(SecretId=settings.signing_secret_arn)["SecretString"]
    access = Access(cloud.client("dynamodb"), settings.approval_table)
    authenticator = Authenticator(access, secret.encode(), settings.requesters, settings.approvers)
    address = address_of(email)
    if address is None or not authenticator.may_sign_in(address):
        raise CommandError(
            ExitCode.NOT_FOUND, f"{email} may neither ask nor approve", "add it to Requesters or Approvers, and deploy"
        )
    return f"{deployment.pages}/link?t={quote(authenticator.new_link(address, '', int(time.time())))}"
