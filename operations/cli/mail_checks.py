"""Whether the approval pages can send mail: the account's SES, and the sender's identity."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from operations.cli.check import Check, guarded
from operations.cli.cloud import Cloud

NO_SUCH_CALL = 404
"""Status of a local AWS for a call that it does not implement; AWS itself answers this call with 200, 400 or 403."""


def mail_checks(cloud: Cloud) -> Iterator[Check]:
    """Account and sender; or one check that says why neither can be made."""
    if cloud.deployment.approval is None:
        yield Check("mail", None, "this stack has no approval app")
        return
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=cloud.deployment.approval)
    sender = configuration["Environment"]["Variables"].get("MAIL_FROM", "")
    client = cloud.client("sesv2")
    try:
        account = client.get_account()
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != NO_SUCH_CALL:
            raise
        yield Check("mail", None, "cannot be checked here: the sandbox has no SES account")
        return
    yield account_check(account)
    yield from guarded("mail sender", partial(sender_check, client, sender))


def account_check(account: dict[str, Any]) -> Check:
    """Whether SES sends for this account, to any address. `account` is SES' answer to GetAccount."""
    status = account.get("EnforcementStatus", "HEALTHY")
    if not account.get("SendingEnabled", True):
        if status == "SHUTDOWN":
            mend = "AWS has stopped it: answer the case that is open in the SES console"
        else:
            mend = "aws sesv2 put-account-sending-attributes --sending-enabled"
        return Check("mail", False, f"SES sends nothing for this account ({status})", mend)
    # In SES' sandbox mails to other addresses are refused one by one, when an approver waits for them.
    if not account.get("ProductionAccessEnabled", False):
        mend = (
            "ask for production access in the SES console; until then verify every approver and requester too: "
            "aws sesv2 create-email-identity --email-identity ADDRESS. `notifier sign-in-link` needs no mail"
        )
        return Check("mail", False, "SES is in its sandbox: only verified addresses get mail", mend)
    warning = "" if status == "HEALTHY" else f"; its reputation is under review ({status})"
    return Check("mail", True, f"SES is out of its sandbox{warning}")


def _by_default(identity: dict[str, Any]) -> str:
    """Names the identity's default configuration set: its rules, as to where events go, hold for our mails too."""
    name = identity.get("ConfigurationSetName")
    return f", by its configuration set {name}" if name else ""


def sender_check(client: Any, sender: str) -> Iterator[Check]:
    """Whether SES accepts the sender: the address is verified, or its domain is."""
    name, pending = "mail sender", {}
    # An address that is verified itself is enough; so is its domain, for every address in it.
    for identity in (sender, sender.rpartition("@")[2]):
        try:
            found = client.get_email_identity(EmailIdentity=identity)
        # Not known is no failure yet: the domain may be verified in place of the address.
        except client.exceptions.NotFoundException:
            continue
        if found.get("VerifiedForSendingStatus", False):
            yield Check(name, True, f"SES sends as {sender} ({identity} is verified{_by_default(found)})")
            return
        pending[identity] = found.get("VerificationStatus", "PENDING")
    if not pending:
        mend = f"aws sesv2 create-email-identity --email-identity {sender}, and follow the link in the mail"
        yield Check(name, False, f"SES does not know {sender}, nor its domain", mend)
        return
    finding = ", ".join(f"{identity} is not verified in SES ({status})" for identity, status in pending.items())
    ways = [
        f"follow the link in the mail to {identity}"
        if "@" in identity
        else f"put the DKIM records of {identity} in DNS"
        for identity in pending
    ]
    again = "" if "@" not in next(iter(pending)) else "; for a new mail delete the identity and create it again"
    yield Check(name, False, finding, " or ".join(ways) + again)
