"""Test pushes: a batch file for each arm and translation, so that one device receives every text of a campaign.

Each has its own campaign id and collapse id: it does not count as the campaign, and no test push hides another.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from notifier.model.campaign import DEFAULT_ARM, Campaign, Variant
from notifier.model.recipient import Device

MAX_ID_CHARS = 128
PREFIX = "batches/test/"


class TestFile(msgspec.Struct, frozen=True):
    """One batch file of a test. `locale` is the translation's, or None for the message's own texts."""

    __test__ = False

    arm: str
    locale: str | None
    key: str
    body: bytes


def test_files(campaign: Campaign, devices: Sequence[Device], sample: dict[str, Any], name: str) -> Iterator[TestFile]:
    """The files of one test.

    Args:
        sample: the `user_id`, `attributes` and `timezone` of a record: they fill the placeholders.
        name: of this test; unique, or the pushes would be taken for those of an earlier test.
    """
    for arm in [variant.name for variant in campaign.variants] or [DEFAULT_ARM]:
        message = campaign.message_of(arm)
        for locale in (None, *(message.translations or {})):
            kind = f"{arm}-{locale}" if locale else arm
            number = f"{name}-{kind}"
            # With the campaign's own id the real run would be refused; with one collapse id a push would hide another.
            tested = Campaign(
                id=f"test-{number}-{campaign.id}"[:MAX_ID_CHARS],
                message=msgspec.structs.replace(message, collapse_id=f"test-{number}"),
                variants=(Variant(arm, Decimal(100)),),
                dry_run=campaign.dry_run,
                test=True,
            )
            user = {"user_id": sample.get("user_id") or "test", "devices": msgspec.to_builtins(devices)}
            user |= {key: sample[key] for key in ("attributes", "timezone") if sample.get(key)}
            user |= {"locale": locale} if locale else {}
            body = msgspec.json.Encoder(decimal_format="number").encode({"campaign": tested, "users": [user]})
            yield TestFile(arm, locale, f"{PREFIX}{number}.json", body)


test_files.__test__ = False  # type: ignore[attr-defined]
