"""Counts what an audience holds: users, devices, languages, attributes, what is broken.

Memory does not grow with the users, except for the hashes of their tokens: 8 bytes a device.
"""

from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from notifier.model.recipient import Recipient, masked
from notifier.model.record_reading import read_recipient, user_id_in
from notifier.model.spelling import BrokenRecord
from notifier.model.suspicious_values import BrokenGroup, RecordPlace, add_broken, add_null_words, of_other_gateway
from notifier.model.user_rows import BATCH_SIZE, UserRows

MAX_NAMES = 500
"""Distinct locales, time zones and attributes that are counted apart; further ones are counted under `OTHER`.

Together with the limits below it keeps the figures under the 400 KB that a DynamoDB item may have.
"""
MAX_NAME_CHARS = 40
OTHER = "(others)"
SAMPLES = 20
MAX_SAMPLE_ATTRIBUTES = 20
MAX_SAMPLE_CHARS = 100
_FIRST_SAMPLES = 5
"""The first users are samples whatever they are like; after them only those of a kind that is not among them yet."""
_SAMPLED_USERS = 20_000
"""Samples are taken of the first users only: to look further costs time for every user of a large audience."""
_BUCKETS = 256
"""One for each value of a hash's lowest byte, so that the search for repeats needs a set of one bucket at a time."""
_LOWEST_BYTE = _BUCKETS - 1
_HASH_BYTES = 8


class AudienceFigures(msgspec.Struct):
    """What was counted.

    `users` are people: rows of one user that stand next to each other within a batch count once, as in a run.
    `devices` are valid devices, `invalid_records` broken records and broken devices.
    `locales`, `timezones` and `attributes` count the users that have one; `without_timezone` those that have none.
    `repeated_tokens` counts devices whose token an earlier device had already; None while it is not known.
    `samples` are records that differ in locale or platforms, their tokens masked.
    `records` counts what was read; it numbers the places of what is `broken`.
    `null_words` counts, by attribute, the users whose value is a word for no value. `other_gateway` counts devices by
    their marks (`ios apns`) where the token looks like one of the other gateway.
    """

    users: int = 0
    devices: int = 0
    platforms: dict[str, int] = {}
    repeated_tokens: int | None = None
    invalid_records: int = 0
    locales: dict[str, int] = {}
    without_timezone: int = 0
    timezones: dict[str, int] = {}
    attributes: dict[str, int] = {}
    samples: list[dict[str, Any]] = []
    records: int = 0
    broken: list[BrokenGroup] = []
    null_words: dict[str, dict[str, int]] = {}
    other_gateway: dict[str, int] = {}


def _in_one_file(number: int) -> tuple[str, int]:
    return "", number


class AudienceCounter:
    """Counts records as they come.

    Args:
        figures: what an earlier invocation of the same job has counted.
        locate: gives the part that holds the record of a number, and its number there.
        size: records in a batch; anything but 500 is for tests.
    """

    def __init__(
        self,
        figures: AudienceFigures | None = None,
        locate: Callable[[int], tuple[str, int]] = _in_one_file,
        size: int = BATCH_SIZE,
    ) -> None:
        self.figures = figures or AudienceFigures()
        # A job of the release before has counted users only, one for each record, and may go on here.
        self.figures.records = max(self.figures.records, self.figures.users)
        self._locate = locate
        self._size = size
        self.user_rows = UserRows()
        self.tokens = TokenHashes()
        self._sampled = {_kind_of(sample) for sample in self.figures.samples}
        # Counted here and copied after each piece: a platform without devices must not be among the figures.
        self._platforms = {name: self.figures.platforms.get(name, 0) for name in ("ios", "android", "web")}

    def take(self, values: Iterable[object]) -> None:
        """Count decoded records, broken ones included."""
        for value in values:
            try:
                if isinstance(value, BrokenRecord):
                    raise value
                recipient = read_recipient(value)
            except BrokenRecord as error:
                self.count_user(user_id_in(value))
                self.figures.invalid_records += 1
                self.count_broken(str(error))
            else:
                self.count_user(recipient.user_id)
                self.count(self.user_rows.without_repeated_tokens(recipient))
            self.figures.records += 1
        self.figures.platforms = {name: n for name, n in self._platforms.items() if n}

    def count_user(self, user_id: str | None) -> None:
        """Count the user of the next record, unless the row before has the same user id. None is a user of its own."""
        # As in a run, where batches are formed alone: rows are joined within a batch only.
        if self.figures.records % self._size == 0:
            self.user_rows.start_batch()
        if self.user_rows.starts_user(user_id):
            self.figures.users += 1

    def count(self, recipient: Recipient) -> bool:
        """Count one recipient. False where an earlier row of the user was counted: then only the devices are."""
        figures = self.figures
        figures.invalid_records += len(recipient.broken_devices)
        for n, reason in recipient.broken_devices:
            self.count_broken(reason, n)
        if not recipient.devices:
            return False
        figures.devices += len(recipient.devices)
        for _, device in recipient.devices:
            self._platforms[device.platform] += 1
            self.tokens.add(device.token)
            if (marked := of_other_gateway(device)) is not None:
                figures.other_gateway[marked] = figures.other_gateway.get(marked, 0) + 1
        # Before the user is known to be counted: a further row of a user may have a device of another platform.
        if figures.users <= _SAMPLED_USERS and len(figures.samples) < SAMPLES:
            self._sample(recipient)
        if not self.user_rows.counts_now():
            return False
        self._count_traits(recipient)
        return True

    def _count_traits(self, recipient: Recipient) -> None:
        """Count what a user has, except devices."""
        figures = self.figures
        add_null_words(figures.null_words, recipient)
        if recipient.locale:
            count_named(figures.locales, recipient.locale)
        if recipient.timezone:
            count_named(figures.timezones, recipient.timezone)
        else:
            figures.without_timezone += 1
        for name, value in recipient.attributes.items():
            if value is not None:
                count_named(figures.attributes, name)

    def count_broken(self, reason: str, device: int | None = None) -> None:
        """Count the current record, or one of its devices, as broken: why, and where it is."""
        part, number = self._locate(self.figures.records)
        add_broken(self.figures.broken, reason, RecordPlace(number, part, device))

    def _sample(self, recipient: Recipient) -> None:
        """Take the recipient as a sample, if it is one of the first or of a kind that is not among them yet."""
        kind = (recipient.locale, tuple(device.platform.value for _, device in recipient.devices))
        if len(self.figures.samples) >= _FIRST_SAMPLES and kind in self._sampled:
            return
        self._sampled.add(kind)
        self.figures.samples.append(sample_of(recipient))


class TokenHashes:
    """Finds repeated tokens. Holds 8 bytes of a hash for each, so that a million need 8 MB.

    Two different tokens can have one hash: with a million tokens that is so in one of 37 million audiences.
    """

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(_BUCKETS)]

    def __len__(self) -> int:
        return sum(map(len, self._buckets))

    def add(self, token: str) -> None:
        """One more token, ASCII."""
        number = token_hash(token)
        self._buckets[number & _LOWEST_BYTE].append(number)

    def repeated(self) -> int:
        """How many tokens were added that had been added before."""
        return sum(len(bucket) - len(set(bucket)) for bucket in self._buckets)

    def repeated_hashes(self) -> set[int]:
        """The hashes that are there more than once."""
        found = set()
        for bucket in self._buckets:
            seen: set[int] = set()
            for number in bucket:
                if number in seen:
                    found.add(number)
                seen.add(number)
        return found

    def pieces(self, max_bytes: int) -> Iterator[bytes]:
        """All hashes as bytes, in pieces of about `max_bytes`, for `load`."""
        piece = bytearray()
        for bucket in self._buckets:
            piece += bucket.tobytes()
            if len(piece) >= max_bytes:
                yield bytes(piece)
                piece.clear()
        if piece:
            yield bytes(piece)

    def clear(self) -> None:
        """Drop the hashes from memory: the caller has stored them."""
        for bucket in self._buckets:
            del bucket[:]

    def load(self, piece: bytes) -> None:
        """Add hashes that `pieces` gave."""
        numbers = array("Q")
        numbers.frombytes(piece)
        for number in numbers:
            self._buckets[number & _LOWEST_BYTE].append(number)


class TokenPlaces:
    """The record of each token, to report where the repeated ones are. 12 bytes a device."""

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._records = array("I")

    def add(self, token: str, record: int) -> None:
        """One more token, ASCII, and the record it is in."""
        self._numbers.append(token_hash(token))
        self._records.append(record)

    def repeats(self, numbers: Container[int]) -> Iterator[tuple[int, int]]:
        """Where the tokens with these hashes are repeated: the record, and the first record with the token."""
        first: dict[int, int] = {}
        for number, record in zip(self._numbers, self._records, strict=True):
            if number in numbers:
                if number in first:
                    yield record, first[number]
                first.setdefault(number, record)


def token_hash(token: str) -> int:
    """8 bytes of a token's hash, as a number."""
    return int.from_bytes(blake2b(token.encode(), digest_size=_HASH_BYTES).digest(), "little")


def sample_of(recipient: Recipient) -> dict[str, Any]:
    """A recipient as a record for people's eyes: every token is masked."""
    devices = [
        {"platform": device.platform.value, "gateway": device.carrier.value, "token": masked(device.token)}
        for _, device in recipient.devices
    ]
    record: dict[str, Any] = {"user_id": recipient.user_id, "devices": devices}
    for name in ("locale", "timezone"):
        if value := getattr(recipient, name):
            record[name] = value
    if recipient.attributes:
        record["attributes"] = {
            str(name)[:MAX_NAME_CHARS]: _short(value)
            for name, value in list(recipient.attributes.items())[:MAX_SAMPLE_ATTRIBUTES]
        }
    return record


def _short(value: object) -> object:
    """A value small enough to be kept with the figures."""
    if isinstance(value, str):
        return value[:MAX_SAMPLE_CHARS]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value)[:MAX_SAMPLE_CHARS]


def _kind_of(sample: Mapping[str, Any]) -> tuple[str | None, Sequence[str]]:
    return sample.get("locale"), tuple(device["platform"] for device in sample["devices"])


def count_named(counts: dict[str, int], name: str) -> None:
    """Count one more of a name, however many names there are."""
    n = counts.get(name)
    if n is not None:
        counts[name] = n + 1
        return
    name = name[:MAX_NAME_CHARS]
    if name not in counts and len(counts) >= MAX_NAMES:
        name = OTHER
    counts[name] = counts.get(name, 0) + 1
