"""Whom to erase: keyed hashes in the suppression list. So no run reaches them again, and no list has their ids.

Each list has the shapes of its ids, too: by these texts are looked through (`privacy.id_shapes`).
"""

import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from audiences.cut_rules import hash_of_user
from notifier.model.keyed_id import HASH, KEY, key_in, keyed
from privacy.id_shapes import ENTRY, Shapes, is_too_long, shape_of

FOLDER = "_erased/"
"""Under the suppression prefix: the key, and a list for each erasure. They do not expire."""
REFUSED = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
"""S3's codes for a put whose condition does not hold: something else is there, or is being written."""
_REMEMBERED = 100_000
"""So many words are remembered that are nobody: a hash costs ten times as much as to look one up."""
_entries = msgspec.json.Decoder(list[str])


class Whom:
    """Says of a user id whether it is erased, and remembers which of them it was asked for.

    Args:
        user_ids: those that are known: the ids of the users of earlier erasures are known nowhere.
        shapes: what is known of the ids of all of them.
    """

    def __init__(
        self, key: bytes, hashes: Iterable[str], user_ids: Iterable[str] = (), shapes: Shapes | None = None
    ) -> None:
        self._key = key
        self._hashes = frozenset(hashes)
        self._nobody: set[str | None] = set()
        self.shapes = shapes or Shapes((), are_all=False)
        self.seen: set[str] = set()
        """Hashes of the erased users that were met since it was emptied."""
        self.counted = {hash_of_user(user_id) for user_id in user_ids if _is_text(user_id)}
        """By these hashes caps count the users whose ids are known: those that were given, and those that were met."""

    def __contains__(self, user_id: object) -> bool:
        found = self._found(user_id)
        if found is not None:
            self.seen.add(found)
        return found is not None

    def has(self, user_id: str | None) -> bool:
        """The same of what may be a user's id, and may be a word: no run has lost a user by that."""
        # The same words are in many records, and each is asked for twice.
        if user_id in self._nobody:
            return False
        found = self._found(user_id)
        if found is None:
            if len(self._nobody) == _REMEMBERED:
                self._nobody.clear()
            self._nobody.add(user_id)
        return found is not None

    def has_any(self, words: Iterable[str | None]) -> bool:
        """The same of several. Each is asked for, also where one is found: caps may count all who are met."""
        return sum(map(self.has, words)) > 0

    def is_in(self, letters: str) -> bool:
        """Whether one of them may be somewhere in a text. Whole numbers are not looked for: they may be anything."""
        return self.has_any(self.shapes.stretches(letters)) or not self.shapes.are_known

    def _found(self, user_id: object) -> str | None:
        if type(user_id) is not str:
            return None
        found = keyed(self._key, user_id)
        if found not in self._hashes:
            return None
        # Wherever it is met: caps may count this user.
        if _is_text(user_id):
            self.counted.add(hash_of_user(user_id))
        return found

    def __len__(self) -> int:
        return len(self._hashes)


def key_of(client: Any, bucket: str, prefix: str) -> bytes:
    """The stack's key for hashes of user ids. Made where there is none; of two makers at once the first one's stays."""
    name = f"{prefix}{FOLDER}key.json"
    try:
        body = msgspec.json.encode([KEY + secrets.token_hex(32)])
        client.put_object(Bucket=bucket, Key=name, Body=body, ContentType="application/json", IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] not in REFUSED:
            raise
    [entry] = _entries.decode(client.get_object(Bucket=bucket, Key=name)["Body"].read())
    key = key_in(entry)
    if key is None:
        raise ValueError(f"s3://{bucket}/{name} is not the key that an erasure or a look-up made")
    return key


def suppress(client: Any, bucket: str, prefix: str, user_ids: Iterable[str], now: datetime) -> Whom:
    """Add users to the suppression list. Returns all who were ever erased: they are looked for again with the new ones.

    The list is written before anything is erased: a run that begins meanwhile leaves them out.
    """
    key, user_ids = key_of(client, bucket, prefix), tuple(user_ids)
    # Nobody has an id that is too long: it is no reason to look everything through once more for each later erasure.
    shapes = {ENTRY + shape_of(one) for one in user_ids if not is_too_long(one)}
    entries = sorted({keyed(key, user_id) for user_id in user_ids} | shapes)
    if entries:
        name = f"{prefix}{FOLDER}{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}.json"
        client.put_object(
            Bucket=bucket, Key=name, Body=msgspec.json.encode(entries), ContentType="application/json", IfNoneMatch="*"
        )
    # Read again, with this one: what S3 has now is what every later erasure looks for.
    lists = [*_lists(client, bucket, prefix)]
    hashes = [entry for entries in lists for entry in entries if entry.startswith(HASH)]
    known = [entry.removeprefix(ENTRY) for entries in lists for entry in entries if entry.startswith(ENTRY)]
    # The first lists had hashes alone.
    are_all = all(any(entry.startswith(ENTRY) for entry in entries) for entries in lists)
    return Whom(key, hashes, user_ids, Shapes(known, are_all=are_all))


def _is_text(user_id: str) -> bool:
    # An id with a lone surrogate is in no audience, and no cap counts it.
    return not any("\ud800" <= letter <= "\udfff" for letter in user_id)


def _lists(client: Any, bucket: str, prefix: str) -> Iterator[list[str]]:
    """The list of each erasure."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + FOLDER)
    for page in pages:
        for one in page.get("Contents", ()):
            entries = _entries.decode(client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read())
            # The key is beside them.
            if any(entry.startswith(HASH) for entry in entries):
                yield entries
