"""Which arm a user is in. A public contract: BigQuery, Athena and DuckDB can compute the same hash.

    n = int(sha256(f"{salt}:{user_id}").hexdigest()[:15], 16) % 10000

Walk the arms in file order, control last, adding hundredths of a percent; the first running sum above `n` is the arm.
`tests/unit/arm_vectors.json` has vectors to check another implementation.
"""

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate

from notifier.model.campaign import HUNDREDTHS


def bucket_of(salt: str, user_id: str) -> int:
    """The user's number from 0 to 9,999. It depends only on salt and user id, and never changes."""
    return int(sha256(f"{salt}:{user_id}".encode()).hexdigest()[:15], 16) % HUNDREDTHS


class Arms:
    """The arms of one campaign. `index_of` runs once for every recipient.

    Args:
        salt: the experiment's name, or the campaign's id.
        shares: name and hundredths of a percent of every arm, in file order, control last; they sum to 10,000.
    """

    __slots__ = ("_bounds", "_prefix", "names")

    def __init__(self, salt: str, shares: Sequence[tuple[str, int]]) -> None:
        total = sum(share for _, share in shares)
        if total != HUNDREDTHS:
            raise ValueError(f"the arms sum to {total} hundredths, not {HUNDREDTHS}")
        self._bounds = list(accumulate(share for _, share in shares))
        self.names = tuple(name for name, _ in shares)
        # Hashed once; `index_of` continues a copy of it with the user id.
        self._prefix = sha256(f"{salt}:".encode())

    def index_of(self, user_id: bytes) -> int:
        """The arm's index in `names`, of a user id encoded as UTF-8."""
        if len(self.names) == 1:
            return 0
        # The same as `bucket_of`, without hashing the salt and encoding the id again.
        state = self._prefix.copy()
        state.update(user_id)
        return bisect_right(self._bounds, int(state.hexdigest()[:15], 16) % HUNDREDTHS)
