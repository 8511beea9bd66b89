"""The findings of a dry check. Their members are the keys of `notifier validate --json`."""

from typing import Any

import msgspec

from notifier.model.audience_counts import Counts
from notifier.model.validation import Fault
from operations.dry_check.figures import AudienceFigures
from operations.dry_check.times import TimesFigures

LIMIT_BYTES = 4096
"""The largest payload that FCM and APNs accept."""


class Broken(msgspec.Struct, frozen=True, omit_defaults=True):
    """A broken record or device: `record` counts from 0 over the whole file, `device` within the record."""

    record: int
    reason: str
    device: int | None = None
    user_id: str | None = None


class Repeat(msgspec.Struct, frozen=True):
    """A device with the token of an earlier device: the records of both, counted from 0 over the whole file."""

    record: int
    first_record: int


class Preview(msgspec.Struct, frozen=True):
    """What one user would get: the arm, its text, and the payload of each platform."""

    user_id: str
    arm: str
    locale: str | None
    title: str
    body: str
    ios_bytes: int
    android_bytes: int
    ios: dict[str, Any]
    android: dict[str, Any]


class Sizes(msgspec.Struct):
    """Payloads for one gateway, in bytes. Only users who have a device of that gateway count."""

    largest: int = 0
    too_large: int = 0
    limit: int = LIMIT_BYTES

    def add(self, size: int) -> None:
        """Count one payload."""
        self.largest = max(self.largest, size)
        if size > self.limit:
            self.too_large += 1


class ArmSize(msgspec.Struct):
    """The users of an arm. `percent` is the campaign's."""

    percent: float
    users: int = 0


class Inspection(msgspec.Struct):
    """All findings. The worker refuses a file with `faults`; it takes one with `warnings`.

    Args:
        broken: broken records and devices, up to the limit of the inspector.
        broken_by_reason: how many there are, all of them.
        repeats: repeated tokens, up to the same limit.
        excluded: users on the exclude list; they belong to no arm.
        left_out: who would be left out as of now, by reason; None where no stack was named.
        languages: users by the translation they read; "" for the message's own texts.
        prepared: what was found in the making of an audience that has to be made first; None for any other.
        times: when users would be asked, of a campaign with `local_time` or `quiet`.
        own_texts: the users who read the message's own texts, by their locale; "" for none.
    """

    name: str
    campaign_id: str | None = None
    faults: list[Fault] = []
    warnings: list[str] = []
    figures: AudienceFigures = msgspec.field(default_factory=AudienceFigures)
    arms: dict[str, ArmSize] = {}
    broken: list[Broken] = []
    broken_by_reason: dict[str, int] = {}
    repeats: list[Repeat] = []
    excluded: int = 0
    payloads: dict[str, Sizes] = {}
    previews: list[Preview] = []
    languages: dict[str, int] = {}
    own_texts: dict[str, int] = {}
    prepared: Counts | None = None
    times: TimesFigures | None = None
    left_out: dict[str, int] | None = None

    @property
    def is_fine(self) -> bool:
        """The worker would take the file."""
        return not self.faults
