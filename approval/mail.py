"""Mails, by SES: always as text and as HTML."""

from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from approval.webhook import REASONS as WEBHOOK_REASONS

MAX_SUBJECT_CHARS = 200


class Mail(NamedTuple):
    """A mail to one person. `text` and `html` say the same."""

    to: str
    subject: str
    text: str
    html: str


class MailFailure(NamedTuple):
    """A mail that was not sent: SES's error code and message. Neither has the person's address, only its domain."""

    domain: str
    code: str
    message: str


NO_ANSWER = "NoAnswer"
"""In place of SES's code where there was no answer."""
REASONS = {
    "MessageRejected": (
        "the mail service does not accept the sender or the address. In SES's sandbox every address must be verified"
    ),
    "MailFromDomainNotVerifiedException": "the sender's domain is not set up in the mail service",
    "ConfigurationSetDoesNotExist": "the sender's configuration set is gone from the mail service",
    "AccountSendingPausedException": "the mail service has stopped sending for this account",
    "ConfigurationSetSendingPausedException": "the mail service has stopped sending for this configuration set",
    "AccessDenied": "these pages may not use the mail service with this sender",
    "AccessDeniedException": "these pages may not use the mail service with this sender",
    "Throttling": "too many mails were sent in this second, or today",
    "ThrottlingException": "too many mails were sent in this second, or today",
    NO_ANSWER: "the mail service did not answer",
}
"""What people who are no engineers are given to read, by SES's code.

https://docs.aws.amazon.com/ses/latest/APIReference/API_SendRawEmail.html#API_SendRawEmail_Errors
"""


def failure_of(to: str, error: ClientError | BotoCoreError) -> MailFailure:
    """The failure in an exception of boto3. SES repeats addresses in its messages: logs are read by more people."""
    domain = to.rpartition("@")[2]
    if isinstance(error, ClientError):
        found = error.response["Error"]
        return MailFailure(domain, found.get("Code", ""), found.get("Message", "").replace(to, f"…@{domain}"))
    return MailFailure(domain, NO_ANSWER, str(error))


def failure_in_words(code: str) -> str:
    """Why a mail was not sent. Of a code that is not known the log has what SES said."""
    unknown = "the mail service refused it; the reason is in the log of these pages"
    return {**REASONS, **WEBHOOK_REASONS}.get(code, unknown)


def count_failure(stack: str) -> None:
    """Write the metric that the alarm MailFailedAlarm is on."""
    # Late: hardly any process needs it.
    from aws_lambda_powertools import single_metric  # noqa: PLC0415
    from aws_lambda_powertools.metrics import MetricUnit  # noqa: PLC0415

    with single_metric("MailsFailed", MetricUnit.Count, 1, namespace="Notifier") as metric:
        metric.add_dimension("Stack", stack)


SendMail = Callable[[Mail], object]
"""Sends one mail: `Ses.send`. Raises what the mail service raises."""


class Ses:
    """Amazon SES.

    Args:
        client: a boto3 SES client.
        sender: a verified address.
    """

    def __init__(self, client: Any, sender: str) -> None:
        self._client = client
        self._sender = sender

    def send(self, mail: Mail) -> None:
        """Send one mail. Raises botocore's ClientError."""
        self._client.send_raw_email(
            Source=self._sender, Destinations=[mail.to], RawMessage={"Data": as_mime(self._sender, mail)}
        )


def as_mime(sender: str, mail: Mail) -> bytes:
    """The mail as MIME: plain text first, HTML as the alternative."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail.to
    message["Subject"] = " ".join(mail.subject.split())[:MAX_SUBJECT_CHARS]  # a line break would begin another header
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps out-of-office answers away
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message.as_bytes()
