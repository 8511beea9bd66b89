"""Mails, by SES: always as text and as HTML."""

from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, NamedTuple

MAX_SUBJECT_CHARS = 200


class Mail(NamedTuple):
    """A mail to one person. `text` and `html` say the same."""

    to: str
    subject: str
    text: str
    html: str


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
