"""Who approves on the command line: a mail address, by which the approval pages know the same person."""

from botocore.exceptions import BotoCoreError, ClientError

from notifier.model.mailbox import is_same_person
from operations.cli.cloud import Cloud
from operations.cli.errors import CommandError, ExitCode
from operations.cli.options import who


def approver(cloud: Cloud, by: str | None) -> str:
    """The address with which the person is signed in at AWS; without one `--by`, else the user's name here.

    Raises:
        CommandError: `--by` names another person than the one who is signed in.
    """
    signed_in = _address(cloud)
    if not signed_in:
        return who(by)
    if by and not is_same_person(by, signed_in):
        raise CommandError(
            ExitCode.USAGE, f"you are signed in at AWS as {signed_in}, and not as {by}", "leave out --by"
        )
    return signed_in


def _address(cloud: Cloud) -> str:
    """The name of the session, where it is an address: IAM Identity Center and most SAML providers name it so.

    `arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Marketing_0123456789abcdef/ann@example.com`
    """
    try:
        arn = str(cloud.client("sts").get_caller_identity()["Arn"])
    except (BotoCoreError, ClientError):
        # STS is out of reach in some networks. The name is then taken as given, which adds no right: whoever may invoke
        # the function could send it any name.
        return ""
    name = arn.rpartition("/")[2] if ":assumed-role/" in arn else ""
    return name if "@" in name[1:-1] else ""
