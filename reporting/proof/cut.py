"""The final cut of a prepared audience: whom it left out when the run began, as its list says, and what it left."""

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from notifier.model.account import Account
from notifier.model.batch_file import PinnedObject
from notifier.model.cut import CUT_LIST, CutParts
from notifier.model.outcome import CutUser
from notifier.model.plurals import counted
from notifier.model.summary import Summary
from reporting.proof.conclusion import CannotProve, NotProved
from reporting.proof.erased import ERASED
from reporting.proof.evidence import Admitted, read_object, state_gone

_LISTED = msgspec.json.Decoder(CutUser)


def with_cut(client: Any, bucket: str, summary: Summary, admitted: Admitted) -> tuple[Admitted, Account]:
    """What the run sent to, and the account of those who were left out before.

    Raises:
        NotProved: the list of those left out is not what the cut counted.
        CannotProve: what the run began with is gone.
    """
    account = Account()
    if not admitted.prepared:
        return admitted, account
    body = read_object(client, bucket, f"state/run_id={summary.run_id}/cut.json")
    if body is None:
        raise state_gone("the final cut that the run began with", summary)
    cut = msgspec.json.decode(body, type=CutParts)
    _check_list(client, bucket, summary.run_id, cut)
    for reason, users in cut.excluded_by.items():
        account.exclude(reason, users)
    account.users = account.excluded
    # Nobody of the exclude list is left in the parts.
    parts = tuple(part.pinned for part in cut.parts)
    breaks = tuple(one.first_part for one in cut.windows if one.first_part)
    return msgspec.structs.replace(admitted, parts=parts, exclude=(), breaks=breaks), account


def check_everyone(
    place: tuple[Any, str, str],
    prepared: Sequence[PinnedObject],
    cut: Sequence[PinnedObject],
    fetched: Callable[[PinnedObject, Path], Path],
    folder: Path,
) -> int:
    """Whoever was prepared stands in the cut's parts, with the same devices, or on the list of those left out.

    The lines of both sides are compared by the sum of their hashes, whatever their order: neither side is held in
    memory. An object that is in both is not read.

    Args:
        place: client, bucket and run id.
        fetched: fetches an object into a file. Raises NotProved and CannotProve.

    Returns:
        How many users were looked up.

    Raises:
        NotProved: a user is missing, or one too many.
    """
    client, bucket, run_id = place
    kept = set(prepared) & set(cut)
    listed = {one.user_id for one in _read_list(client, bucket, f"excluded/run_id={run_id}/{CUT_LIST}") or ()}
    before, after = _Lines(listed), _Lines(frozenset())
    for parts, lines in ((prepared, before), (cut, after)):
        for part in parts:
            if part not in kept:
                path = fetched(part, folder / "compared")
                lines.add(path)
                path.unlink()
    erased = sum(one.startswith(ERASED) for one in listed)
    where = f"s3://{bucket}/state/run_id={run_id}/cut.json"
    if unknown := len(listed) - erased - before.listed:
        raise NotProved(where, f"{counted(unknown, 'user')} listed as left out, but sent to or never prepared")
    missing = before.others - after.others + before.erased - after.erased - erased
    if missing > 0:
        raise NotProved(where, f"{counted(missing, 'user')} of the prepared audience neither sent to nor listed")
    if missing < 0:
        raise NotProved(where, f"{counted(-missing, 'user')} more sent to than prepared and not listed")
    if before.sum != after.sum:
        raise NotProved(where, "other users, or users with other devices, than in the prepared audience")
    return before.listed + before.others + before.erased


class _Lines:
    """Lines of prepared parts: how many, and the sum of their hashes. Those of listed users are only counted."""

    def __init__(self, listed: AbstractSet[str]) -> None:
        self.listed = self.others = self.erased = self.sum = 0
        self._listed = listed

    def add(self, path: Path) -> None:
        with path.open("rb") as stored:
            for line in stored:
                user_id = _line(line).user_id
                if user_id is None:
                    # What an erasure leaves has no id, and says nothing of whose line it was.
                    self.erased += 1
                elif user_id in self._listed:
                    self.listed += 1
                else:
                    self.others += 1
                    # A sum modulo 2^256: equal for the same lines in any order, and for others by no chance.
                    self.sum = (self.sum + int.from_bytes(sha256(line).digest(), "big")) % _MODULUS


class _Line(msgspec.Struct):
    user_id: str | None = None


_line = msgspec.json.Decoder(_Line).decode
_MODULUS = 1 << 256


def _check_list(client: Any, bucket: str, run_id: str, cut: CutParts) -> None:
    key = f"excluded/run_id={run_id}/{CUT_LIST}"
    listed = _read_list(client, bucket, key)
    if listed is None:
        if cut.excluded_by:
            raise CannotProve(f"s3://{bucket}/{key}: the list of those who were left out has expired (ResultDays)")
        return
    if Counter(one.reason for one in listed) != Counter(cut.excluded_by):
        raise NotProved(key, "it lists other users, by their reasons, than the final cut left out")
    if len({one.user_id for one in listed}) != len(listed):
        raise NotProved(key, "it lists a user twice")


def _read_list(client: Any, bucket: str, key: str) -> list[CutUser] | None:
    """Those who were left out; None where there is no list."""
    body = read_object(client, bucket, key)
    if body is None:
        return None
    try:
        return _LISTED.decode_lines(gzip.decompress(body))
    except (OSError, EOFError, zlib.error, msgspec.DecodeError):
        raise NotProved(key, "not the lines that the final cut writes") from None
