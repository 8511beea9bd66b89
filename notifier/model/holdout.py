"""The holdout: users who get no campaign at all, so that the lift of all pushes together can be measured.

    n = int(sha256(f"holdout:{version}:{user_id}").hexdigest()[:15], 16) % 10000

A user with `n` below the share, in hundredths of a percent, is held out. The arms' hash, with a salt of its own: a
public contract, which BigQuery, Athena and DuckDB can compute. `tests/unit/holdout_vectors.json` has vectors. A new
version draws other users; those of an old version can still be computed.
"""

import re
from decimal import Decimal, InvalidOperation

import msgspec

from notifier.model.arms import bucket_of

MOST_HUNDREDTHS = 5_000
"""Half of all users: with more it is a wrong setting, and no measurement."""
_VERSION = re.compile(r"[a-z0-9]{1,4}")


class Holdout(msgspec.Struct, frozen=True):
    """Who is held out: the share in hundredths of a percent, and the version of the draw."""

    hundredths: int = 0
    version: str = "1"

    def __contains__(self, user_id: object) -> bool:
        return isinstance(user_id, str) and bucket_of(f"holdout:{self.version}", user_id) < self.hundredths


NOBODY = Holdout()
"""Nobody is held out."""


def read_hundredths(text: str) -> int:
    """A share as it is set: a percentage with at most two places, from 0 to 50. Raises ValueError."""
    try:
        hundredths = Decimal(text) * 100
    except InvalidOperation:
        raise ValueError from None
    # Never through a float: 0.29 would be 28 hundredths.
    if not hundredths.is_finite() or hundredths != int(hundredths) or not 0 <= hundredths <= MOST_HUNDREDTHS:
        raise ValueError
    return int(hundredths)


def read_version(text: str) -> str:
    """The version of the draw. Raises ValueError."""
    if not _VERSION.fullmatch(text):
        raise ValueError
    return text
