"""Joins rows to users: consecutive rows with the same user id within a batch are one user.

Warehouses write one row per device. Joining changes the count of users and removes tokens that are given twice. It does
not change the number of a row, because that identifies what was sent. Rows in different batches are not joined, because
each batch is built alone: a user whose rows are in two batches counts twice, which is at most one user per batch.
"""

from notifier.model.plurals import counted
from notifier.model.recipient import Recipient
from notifier.model.record_reading import without_repeats

BATCH_SIZE = 500
"""Records in a batch. Never change it: it is a part of every row's identity."""


class UserRows:
    """Follows the rows of a batch in their order, and knows whether a row belongs to the user before it."""

    __slots__ = ("_first", "_is_counted", "_tokens", "_user_id")

    def __init__(self) -> None:
        self.start_batch()

    def start_batch(self) -> None:
        """Call it before the first row of each batch."""
        self._user_id: str | None = None
        self._first: Recipient | None = None
        self._tokens: set[str] | None = None
        self._is_counted = False

    def starts_user(self, user_id: str | None) -> bool:
        """Take the next row. Returns whether it begins another user; a row without a readable user id always does."""
        if user_id == self._user_id and user_id is not None:
            return False
        self._user_id = user_id
        self._first = self._tokens = None
        self._is_counted = False
        return True

    def counts_now(self) -> bool:
        """Whether the current user is to be counted as assigned or excluded: true once, at the first valid row."""
        was_counted, self._is_counted = self._is_counted, True
        return not was_counted

    def without_repeated_tokens(self, recipient: Recipient) -> Recipient:
        """A row of the current user, without tokens that an earlier row of the user had."""
        if self._first is None:
            self._first = recipient
            return recipient
        # A set of tokens is made only for a user's second row: most users have one.
        if self._tokens is None:
            self._tokens = set()
            without_repeats(self._first, self._tokens)
        return without_repeats(recipient, self._tokens)


def joined_rows_note(records: int, users: int) -> str | None:
    """A note for readers who compare the numbers of records and users; None if no rows were joined."""
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
