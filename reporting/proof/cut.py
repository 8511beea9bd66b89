"""The final cut of a prepared audience: whom it left out when the run began, as its list says, and what it left."""

import gzip
import zlib
from collections import Counter
from typing import Any

import msgspec

from notifier.model.account import Account
from notifier.model.cut import CUT_LIST, CutParts
from notifier.model.outcome import CutUser
from reporting.proof.evidence import Admitted, read_object
from reporting.proof.finding import CannotProve, NotProved

_LISTED = msgspec.json.Decoder(CutUser)


def with_cut(client: Any, bucket: str, run_id: str, admitted: Admitted) -> tuple[Admitted, Account]:
    """What the run sent to, and the account of those who were left out before.

    Raises:
        NotProved: the list of those left out is not what the cut counted.
        CannotProve: what the run began with is gone.
    """
    account = Account()
    if not admitted.prepared:
        return admitted, account
    body = read_object(client, bucket, f"state/run_id={run_id}/cut.json")
    if body is None:
        raise CannotProve(
            "state/ is gone: the final cut that the run began with was deleted, or has expired (WorkDays)"
        )
    cut = msgspec.json.decode(body, type=CutParts)
    _check_list(client, bucket, run_id, cut)
    for reason, users in cut.excluded_by.items():
        account.exclude(reason, users)
    account.users = account.excluded
    # Nobody of the exclude list is left in the parts.
    parts = tuple(part.pinned for part in cut.parts)
    return msgspec.structs.replace(admitted, parts=parts, exclude=()), account


def _check_list(client: Any, bucket: str, run_id: str, cut: CutParts) -> None:
    key = f"excluded/run_id={run_id}/{CUT_LIST}"
    body = read_object(client, bucket, key)
    if body is None:
        if cut.excluded_by:
            raise CannotProve(f"s3://{bucket}/{key}: the list of those who were left out has expired (ResultDays)")
        return
    try:
        listed = _LISTED.decode_lines(gzip.decompress(body))
    except (OSError, EOFError, zlib.error, msgspec.DecodeError):
        raise NotProved(key, "not the lines that the final cut writes") from None
    if Counter(one.reason for one in listed) != Counter(cut.excluded_by):
        raise NotProved(key, "it lists other users, by their reasons, than the final cut left out")
    if len({one.user_id for one in listed}) != len(listed):
        raise NotProved(key, "it lists a user twice")
