"""Users are people: rows of one user id that stand next to each other within a batch are one user.

Warehouses write one row a device. Joining them changes what is counted, and who is asked twice; never a row's number,
for what was sent before is found by it. Over a batch's edge nothing is joined, because batches are formed alone, so a
user whose rows lie on both sides counts twice: at most one a batch.
"""

from notifier.model.plurals import counted
from notifier.model.recipient import Recipient, without_repeats

BATCH_SIZE = 500
"""Records in a batch. Part of every row's identity: never to be changed."""


class UserRows:
    """Which of the rows that come one by one belong to the user before them."""

    __slots__ = ("_first", "_placed", "_tokens", "_user_id")

    def __init__(self) -> None:
        self.start_batch()

    def start_batch(self) -> None:
        """The next row is of another batch."""
        self._user_id: str | None = None
        self._first: Recipient | None = None
        self._tokens: set[str] | None = None
        self._placed = False

    def starts_user(self, user_id: str | None) -> bool:
        """Whether this row begins another user; one whose user id cannot be read is a user of its own."""
        if user_id == self._user_id and user_id is not None:
            return False
        self._user_id = user_id
        self._first = self._tokens = None
        self._placed = False
        return True

    def counts_now(self) -> bool:
        """Whether the user met last is to be counted among the assigned, or the excluded: true once."""
        placed, self._placed = self._placed, True
        return not placed

    def without_repeated_tokens(self, recipient: Recipient) -> Recipient:
        """A row of the user met last, without tokens that an earlier row of this user had."""
        if self._first is None:
            self._first = recipient
            return recipient
        if self._tokens is None:
            self._tokens = set()
            without_repeats(self._first, self._tokens)
        return without_repeats(recipient, self._tokens)


def joined_rows_note(records: int, users: int) -> str | None:
    """What somebody who compares figures needs to know where records were joined; None where none were."""
    if records <= users:
        return None
    words = f"{records:,} records are {counted(users, 'user')}: consecutive rows of one user are one user"
    edges = (records - 1) // BATCH_SIZE
    if edges:
        words += (
            f"; one whose rows lie on both sides of a batch's edge (every {BATCH_SIZE} records) counts twice, "
            f"so up to {edges:,} may be too many"
        )
    return words
