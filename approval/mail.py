"""Mails, by SES: always as text and as HTML."""

from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Protocol

MAX_SUBJECT_CHARS = 200


class Mailer(Protocol):
    """Sends one mail to one person: `Ses`, and the tests' mailbox."""

    def send(self, to: str, subject: str, text: str, html: str) -> None:
        """Raises what the mail service raises."""
        ...


class Ses:
    """Amazon SES.

    Args:
        client: a boto3 SES client.
        sender: a verified address.
    """

    def __init__(self, client: Any, sender: str) -> None:
        self._client = client
        self._sender = sender

    def send(self, to: str, subject: str, text: str, html: str) -> None:
        """Send one mail. Raises botocore's ClientError."""
        self._client.send_raw_email(
            Source=self._sender, Destinations=[to], RawMessage={"Data": message(self._sender, to, subject, text, html)}
        )


def message(sender: str, to: str, subject: str, text: str, html: str) -> bytes:
    """The mail as MIME: plain text first, HTML as the alternative."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = to
    mail["Subject"] = " ".join(subject.split())[:MAX_SUBJECT_CHARS]  # a line break would begin another header
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps out-of-office answers away
    mail.set_content(text)
    mail.add_alternative(html, subtype="html")
    return mail.as_bytes()
