"""Forms batches from decoded records."""

from collections.abc import Container, Sequence
from itertools import islice

from notifier.content.render import Renderer
from notifier.model.account import EXCLUDE, HOLDOUT, SUPPRESSED
from notifier.model.arms import Arms
from notifier.model.campaign import CONTROL
from notifier.model.cursor import Cursor
from notifier.model.outcome import Invalid
from notifier.model.recipient import Recipient
from notifier.model.record_reading import read_recipient, user_id_in
from notifier.model.remainder import OtherPart
from notifier.model.spelling import BrokenRecord
from notifier.model.user_rows import UserRows
from notifier.sending.batch import NO_TEXTS, Batch, Push, endpoint_of
from notifier.sending.settled_batch import SettledBatch

MAX_ID_BITS = 64
"""A longer number is not taken for a broken record's user id."""
MAX_ID_CHARS = 512
"""Characters of a broken record's user id that are kept."""


class BatchBuilder:
    """Forms batches from records: validates each, finds its arm, makes a push of each device.

    Args:
        excluded: the user ids of the campaign's exclude list.
        suppressed: the user ids that every run leaves out. They may be others in a later claim of the run.
        holdout: the user ids that get no campaign. The same in every claim of the run, which pins share and version.
        other_part: of an experiment with a winner, those who are in its other run.
        has_quiet_hours: pushes carry their users' time zones, by which quiet hours are judged.
    """

    def __init__(
        self,
        run_id: str,
        campaign_id: str,
        arms: Arms,
        renderer: Renderer,
        excluded: Container[str] = frozenset(),
        suppressed: Container[str] = frozenset(),
        holdout: Container[str] = frozenset(),
        other_part: OtherPart | None = None,
        *,
        has_quiet_hours: bool = False,
    ) -> None:
        self._has_quiet_hours = has_quiet_hours
        self._run_id = run_id
        self._campaign_id = campaign_id
        self._arms = arms
        self._renderer = renderer
        # Those of an experiment's other part are left out by a hash, as the holdout: the same in every claim.
        parts = ((other_part, other_part.reason),) if other_part is not None else ()
        by_reason = ((excluded, EXCLUDE), (suppressed, SUPPRESSED), (holdout, HOLDOUT), *parts)
        # Most runs leave nobody out: what has nobody is not asked, for each user of the audience.
        self._left_out: tuple[tuple[Container[str], str], ...] = tuple(
            (users, reason) for users, reason in by_reason if users
        )

    def form(self, number: int, first_record: int, records: Sequence[object], at_end: Cursor) -> Batch:
        """The batch of these records.

        Args:
            first_record: the index of the first of them in the audience.
            at_end: the cursor behind them.
        """
        batch = Batch(self._run_id, self._campaign_id, number, 0, at_end)
        user_rows = UserRows()
        for record, value in enumerate(records, first_record):
            try:
                # The stream gives a record that it cannot decode as the error itself, so that its index is kept.
                if isinstance(value, BrokenRecord):
                    raise value
                recipient = read_recipient(value)
                # Against every arm's message, not its own only: otherwise broken records would make the arms differ.
                self._renderer.check(recipient)
            except BrokenRecord as error:
                if user_rows.starts_user(user_id_in(value)):
                    batch.account.users += 1
                note_invalid(batch, record, str(error), value)
            else:
                if user_rows.starts_user(recipient.user_id):
                    batch.account.users += 1
                formed = len(batch.waiting)
                self._take(batch, record, value, user_rows.without_repeated_tokens(recipient), user_rows)
                if self._has_quiet_hours:
                    for push in islice(batch.waiting, formed, None):
                        push.timezone = recipient.timezone
        return batch

    def settled(self, found: SettledBatch, at_end: Cursor) -> Batch:
        """A batch that another claim settled: it has its account, and nothing to send."""
        batch = Batch(self._run_id, self._campaign_id, found.number, 0, at_end)
        batch.settled, batch.account = found, found.account
        return batch

    def _why_left_out(self, user_id: str) -> str | None:
        """The first reason that applies; None for a user who belongs to an arm."""
        for users, reason in self._left_out:
            if user_id in users:
                return reason
        return None

    def _take(self, batch: Batch, record: int, value: object, recipient: Recipient, user_rows: UserRows) -> None:
        for number, reason in recipient.broken_devices:
            note_invalid(batch, record, reason, value, number)
        if not recipient.devices:
            return
        account, user_id = batch.account, recipient.user_id
        if self._left_out and (why := self._why_left_out(user_id)) is not None:
            # Users are counted once however many rows they have; devices by row.
            if user_rows.counts_now():
                batch.exclude(record, user_id, why)
            if why == SUPPRESSED:
                # Suppression is read again at each claim: the devices keep their places, by which claims say whom they
                # asked for.
                batch.pass_over(len(recipient.devices))
            return
        arm = self._arms.names[self._arms.index_of(user_id.encode())]
        account.arm(arm).assigned += user_rows.counts_now()
        account.devices += len(recipient.devices)
        texts = NO_TEXTS if arm == CONTROL else self._renderer.render(arm, recipient)
        for number, device in recipient.devices:
            endpoint = endpoint_of(device)
            batch.add(Push(batch, record, number, user_id, arm, device, endpoint, recipient.locale, texts))


def note_invalid(batch: Batch, record: int, reason: str, value: object, device: int | None = None) -> None:
    """Record a broken record or device, with its user id if the record has one."""
    batch.account.invalid_records += 1
    batch.invalid.append(Invalid(batch.run_id, record, reason, device, _user_of(value)))


def _user_of(value: object) -> str | None:
    """The user id in a record that may be broken in any way: cut to `MAX_ID_CHARS`, and always encodable."""
    known = user_id_in(value)
    if known is not None:
        return known
    user_id = value.get("user_id") if isinstance(value, dict) else None
    if type(user_id) is int and user_id.bit_length() < MAX_ID_BITS:
        return str(user_id)
    return user_id[:MAX_ID_CHARS].encode("utf-8", "replace").decode() if type(user_id) is str else None
