"""The people, phones and audiences of the sandbox's approval pages, ready to click through."""

import gzip
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from approval.store import Store, TestDevice
from sandbox.audience import Recipe, users
from sandbox.aws import MAILS_PATH
from sandbox.gateways import Gateways
from sandbox.stack import Sandbox

ANN: Final = "ann@example.com"
BOB: Final = "bob@example.com"
CAT: Final = "cat@example.com"
OLIVE: Final = "olive@example.com"
SENDER: Final = "push@example.com"
TWO_APPROVERS_ABOVE: Final = 5_000


class Phone(msgspec.Struct, frozen=True):
    """A phone that shows what the stand-ins accepted for its token."""

    owner: str
    label: str
    platform: str
    token: str
    environment: str = "production"


def _phone(owner: str, label: str, platform: str, environment: str = "production") -> Phone:
    return Phone(owner, label, platform, sha256(f"{owner} {label}".encode()).hexdigest(), environment)


PHONES: Final = (
    _phone(BOB, "Bob's Android", "android"),
    _phone(BOB, "Bob's iPhone", "ios"),
    _phone(CAT, "Cat's iPhone (development)", "ios", "sandbox"),
    _phone(ANN, "Ann's Android", "android"),
)


def parameters() -> Mapping[str, str]:
    """The template's parameters for approval pages: one requester, two approvers, and a privacy officer."""
    return {
        "MailFrom": SENDER,
        "Requesters": ANN,
        "Approvers": f"{BOB},{CAT}",
        "TwoApproversAbove": str(TWO_APPROVERS_ABOVE),
        "PrivacyOfficers": OLIVE,
    }


EVENTS = Path(__file__).parent.parent / "events"
AUDIENCES: Final[Mapping[str, Recipe]] = {
    "tinie-tempah-followers.json": Recipe(users=1_200, seed=11, dead_share=0.02),
    "day-21-inactive.ndjson.gz": Recipe(users=8_000, seed=12),
    "with-repeats.json": Recipe(users=400, seed=13, duplicates=20),
}


def set_up(sandbox: Sandbox, gateways: Gateways) -> None:
    """Audiences in S3, the sender verified, all phones registered with the stand-ins and on their owners' pages."""
    sandbox.client("ses").verify_email_identity(EmailAddress=SENDER)
    s3 = sandbox.client("s3")
    for name, recipe in AUDIENCES.items():
        s3.put_object(Bucket=sandbox.bucket, Key=f"audiences/{name}", Body=audience(name, recipe))
    # Stored queries and their tables, to compose with.
    for folder in ("queries", "standing"):
        for path in sorted((EVENTS / folder).rglob("*.*")):
            s3.upload_file(str(path), sandbox.bucket, path.relative_to(EVENTS).as_posix())
    gateways.register(*(phone.token for phone in PHONES))
    table = dict(sandbox.function("ApprovalFunction").environment)["APPROVAL_TABLE"]
    store = Store(sandbox.client("dynamodb"), table)
    for n, phone in enumerate(PHONES):
        store.add_device(
            phone.owner, TestDevice(f"phone{n}", phone.label, phone.platform, phone.token, phone.environment)
        )


def audience(name: str, recipe: Recipe) -> bytes:
    """The bytes of an audience file: a JSON array, or gzipped lines."""
    records = list(users(recipe))
    if name.endswith(".gz"):
        return gzip.compress("\n".join(map(json.dumps, records)).encode(), mtime=0)
    return json.dumps(records, ensure_ascii=False).encode()


def mails(endpoint_url: str) -> list[dict[str, Any]]:
    """The mails that SES has taken, oldest first: `to`, `subject`, `text`, `html`."""
    import urllib.request  # noqa: PLC0415 - only here
    from email import message_from_string  # noqa: PLC0415
    from email.policy import default  # noqa: PLC0415

    with urllib.request.urlopen(endpoint_url + MAILS_PATH) as answer:  # noqa: S310
        taken = json.load(answer)
    found = []
    for raw in taken:
        mail = message_from_string(raw, policy=default)
        bodies = {
            part.get_content_type(): part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"
        }
        found.append(
            {
                "to": str(mail["To"]),
                "subject": str(mail["Subject"]),
                "text": bodies.get("text/plain", ""),
                "html": bodies.get("text/html", ""),
            }
        )
    return found
