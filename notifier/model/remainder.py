"""The test part and the remainder of an experiment with a winner: who is in the one run, and who in the other.

    n = int(sha256(f"{experiment}:test:{user_id}").hexdigest()[:15], 16) % 10000

A user with `n` below the test's share, in hundredths of a percent, is in the test part; all others are the remainder.
The arms' hash with a salt of its own, so that the part says nothing about the arm. A public contract, which BigQuery,
Athena and DuckDB can compute: `tests/unit/test_part_vectors.json` has vectors.
"""

import msgspec

from notifier.model.account import REMAINDER, TEST_PART
from notifier.model.arms import bucket_of
from notifier.model.campaign import Campaign, hundredths

DECISION = "decision"
"""The sort key, and the value of `due`, of the item `decision#R`: the winner of the test R is to be decided."""
SUFFIX = "-remainder"
"""Behind the campaign's id: the id of the run over the remainder."""


class OtherPart(msgspec.Struct, frozen=True):
    """The users who are left out of a run because they are in the other one of the two.

    Args:
        salt: of the experiment's arms.
        hundredths: the share of the test part.
        is_remainder: they are the remainder, and the run is the test; otherwise the other way round.
    """

    salt: str
    hundredths: int
    is_remainder: bool

    @property
    def reason(self) -> str:
        """Why they are left out."""
        return REMAINDER if self.is_remainder else TEST_PART

    def __contains__(self, user_id: object) -> bool:
        if not isinstance(user_id, str):
            return False
        is_tested = bucket_of(f"{self.salt}:test", user_id) < self.hundredths
        return is_tested is not self.is_remainder


def other_part_of(campaign: Campaign) -> OtherPart | None:
    """Whom a campaign's run leaves to the other run of its experiment; None without a winner to be found."""
    if campaign.winner is None:
        return None
    # `read_campaign` refuses what is not a percentage.
    share = hundredths(campaign.winner.test_percent) or 0
    return OtherPart(campaign.salt, share, is_remainder=campaign.remainder_of is None)
