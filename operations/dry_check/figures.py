"""Counts the records that a dry check goes over: users, devices, languages, attributes, what is broken.

The worker's own reader has judged each of them, and the check has the campaign's payloads to make of each: so they are
counted on the way. What is prepared is counted by DuckDB (`audiences.counts`).

Memory does not grow with the users, except for the hashes of their tokens: 8 bytes a device.
"""

from array import array
from collections.abc import Callable, Container, Iterable, Iterator
from hashlib import blake2b

import msgspec

from notifier.model.audience_counts import MAX_NAME_CHARS, MAX_NAMES, OTHER
from notifier.model.recipient import Recipient
from notifier.model.record_reading import read_recipient, user_id_in
from notifier.model.spelling import BrokenRecord
from notifier.model.suspicious_values import add_null_words, has_invisible_end, of_other_gateway
from notifier.model.user_rows import BATCH_SIZE, UserRows
from operations.broken_groups import BrokenGroup, RecordPlace, add_broken

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
    `records` counts what was read; it numbers the places of what is `broken`.
    `null_words` counts, by attribute, the users whose value is a word for no value. `other_gateway` counts devices by
    their marks (`ios apns`) where the token looks like one of the other gateway. `invisible_ends` counts users whose
    id begins or ends with white space, a quote or a character that nobody sees.
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
    records: int = 0
    broken: list[BrokenGroup] = []
    null_words: dict[str, dict[str, int]] = {}
    other_gateway: dict[str, int] = {}
    invisible_ends: int = 0


def _in_one_file(number: int) -> tuple[str, int]:
    return "", number


class AudienceCounter:
    """Counts records as they come.

    Args:
        locate: gives the part that holds the record of a number, and its number there.
        size: records in a batch; anything but 500 is for tests.
    """

    def __init__(
        self,
        locate: Callable[[int], tuple[str, int]] = _in_one_file,
        size: int = BATCH_SIZE,
    ) -> None:
        self.figures = AudienceFigures()
        self._locate = locate
        self._size = size
        self.user_rows = UserRows()
        self.tokens = TokenHashes()
        # Counted here and copied after each piece: a platform without devices must not be among the figures.
        self._platforms = dict.fromkeys(("ios", "android", "web"), 0)

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
        if not self.user_rows.counts_now():
            return False
        self._count_traits(recipient)
        return True

    def _count_traits(self, recipient: Recipient) -> None:
        """Count what a user has, except devices."""
        figures = self.figures
        add_null_words(figures.null_words, recipient)
        figures.invisible_ends += has_invisible_end(recipient.user_id)
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
