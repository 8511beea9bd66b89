"""A batch: source records 500n to 500n+499, from decoded records to one row per device. The unit of accounting."""

from collections import deque
from collections.abc import Container, Sequence
from itertools import islice

from notifier.content.render import RenderedTexts, Renderer
from notifier.model.account import Account
from notifier.model.arms import Arms
from notifier.model.campaign import CONTROL
from notifier.model.cursor import Cursor
from notifier.model.outcome import DeadToken, Invalid, Outcome, Row
from notifier.model.recipient import BrokenRecord, Device, Environment, Gateway, Recipient, read_recipient, user_id_in
from notifier.model.run import batch_name
from notifier.model.user_rows import BATCH_SIZE as BATCH_SIZE  # noqa: PLC0414 - most of its readers know it from here
from notifier.model.user_rows import UserRows


class Push:
    """One device to be asked for, with all that asking needs. Lives from its batch's forming to its row."""

    __slots__ = (
        "arm",
        "asked_as",
        "asked_at",
        "at_end",
        "attempts",
        "batch",
        "counted",
        "device",
        "due_at",
        "endpoint",
        "is_repeated",
        "last_at",
        "locale",
        "maybe_repeat",
        "number",
        "order",
        "record",
        "since",
        "user_id",
        "words",
    )

    def __init__(self, batch: "Batch", record: int, number: int, user_id: str, arm: str, device: Device) -> None:
        self.batch = batch
        self.record = record
        self.number = number
        """The device's place in the record."""
        self.user_id = user_id
        self.arm = arm
        self.device = device
        self.endpoint = endpoint_of(device)
        self.locale: str | None = None
        self.words: RenderedTexts | None = None
        """None: the user is in the control group."""
        self.attempts = 0
        self.counted = 0
        """Attempts refused while the endpoint accepted others: only these make it fail before its time is over."""
        self.asked_as: str | None = None
        """The id the gateway was given for it, if it takes one."""
        self.asked_at = 0.0
        """When it was first asked for, seconds since the epoch; 0 before."""
        self.last_at = 0.0
        """When it was last asked for, seconds since the epoch; 0 before."""
        self.since = 0.0
        """When it was asked for the time before; of a first request its own time."""
        self.due_at = 0.0
        """Not before this time, seconds since the epoch."""
        self.at_end = False
        """It was left until the reading of the audience had ended."""
        self.maybe_repeat = False
        """A request that may have reached the phone went unanswered: the next one may be a repeat."""
        self.order = 0
        """Its place in the batch, from 0."""
        self.is_repeated = False
        """The account's `possibly_repeated` holds this device already, perhaps since an earlier round."""

    @property
    def key(self) -> tuple[int, int]:
        """Record and device: tells the devices of a run apart."""
        return self.record, self.number

    @property
    def name(self) -> str:
        """Run, record and device: the row's key, and what `apns-id` is made of."""
        return f"{self.batch.run_id}:{self.record}:{self.number}"

    def __repr__(self) -> str:
        return f"Push(record={self.record}, device={self.number}, arm={self.arm!r}, endpoint={self.endpoint!r})"


def endpoint_of(device: Device) -> str:
    """Which endpoint carries it: `fcm`, `apns`, or `apns-sandbox` for development builds."""
    if device.carrier is Gateway.FCM:
        return "fcm"
    return "apns-sandbox" if device.environment is Environment.SANDBOX else "apns"


class Batch:
    """One batch on its way. `waiting` are pushes not begun, `open` counts devices with neither outcome nor deferral."""

    __slots__ = (
        "account",
        "asked_bits",
        "at_end",
        "campaign_id",
        "dead",
        "deferred",
        "invalid",
        "number",
        "open",
        "passed",
        "pushes",
        "repeated",
        "round",
        "rows",
        "run_id",
        "settling",
        "sole",
        "suspected",
        "waiting",
    )

    def __init__(self, run_id: str, campaign_id: str, number: int, round_: int, at_end: Cursor) -> None:
        self.run_id = run_id
        self.campaign_id = campaign_id
        self.number = number
        self.round = round_
        self.at_end = at_end
        """Where the lane continues when this batch and all before it are settled."""
        self.waiting: deque[Push] = deque()
        self.pushes = 0
        """How many devices it was formed with."""
        self.repeated = 0
        """How many of them were `possibly_repeated` in an earlier round: the account holds them already."""
        self.asked_bits = 0
        """For which of them this claim has asked: bit n is the n-th."""
        self.sole = 0
        """How many of these requests were the first for their device, as far as this claim knew."""
        self.suspected = 0
        """For how many of them earlier claims may have asked."""
        self.open = 0
        self.settling = False
        self.passed = False
        """Another claim settled it already: only its account counts."""
        self.rows: list[Row] = []
        self.invalid: list[Invalid] = []
        self.dead: list[DeadToken] = []
        self.deferred: list[Push] = []
        self.account = Account()

    @property
    def name(self) -> str:
        """`batch=00000123`, in a deferred round `batch=00000123.r1`."""
        return batch_name(self.number, self.round)

    @property
    def is_complete(self) -> bool:
        """Every device has an outcome or is deferred."""
        return self.open == 0 and not self.waiting

    def add(self, push: Push, *, waits: bool = True) -> None:
        """Take a device into the batch; one that does not wait is asked for by whoever adds it."""
        push.order = self.pushes
        if waits:
            self.waiting.append(push)
        self.open += 1
        self.pushes += 1
        self.repeated += push.is_repeated

    def keep(self, push: Push) -> None:
        """Take a device into the batch that is not due yet: it is deferred again, unasked."""
        self.pushes += 1
        self.repeated += push.is_repeated
        self.deferred.append(push)
        self.account.deferred += 1

    def note_asked(self, push: Push) -> None:
        """A request for the device goes out, which may be a repeat."""
        bit = 1 << push.order
        self.sole += not (push.maybe_repeat or self.asked_bits & bit)
        self.asked_bits |= bit
        if push.maybe_repeat:
            push.maybe_repeat = False
            self.count_repeats(push, 1)

    @property
    def asked(self) -> int:
        """For how many of its devices this claim has asked."""
        return self.asked_bits.bit_count()

    def count_repeats(self, push: Push, requests: int) -> None:
        """So many requests for the device may have been repeats. The device itself is counted once, over all rounds."""
        self.account.repeat_requests += requests
        if not push.is_repeated:
            push.is_repeated = True
            self.account.possibly_repeated += 1

    @property
    def repeatable(self) -> int:
        """How many devices of it can be repeats that no account holds yet."""
        return self.account.repeatable(self.pushes, self.repeated)

    def end(
        self,
        push: Push,
        outcome: Outcome,
        reason: str | None,
        at: str,
        status: int | None = None,
        message_id: str | None = None,
    ) -> None:
        """Record a device's outcome: its row and its count. `at` is UTC as in `Row`, `status` the HTTP status."""
        self.open -= 1
        device = push.device
        self.rows.append(
            Row(
                self.run_id,
                self.campaign_id,
                push.record,
                push.number,
                push.user_id,
                push.arm,
                device.platform,
                device.carrier,
                outcome,
                reason,
                status,
                push.asked_as,
                message_id,
                push.attempts,
                push.locale,
                at,
            )
        )
        self.account.count(push.arm, outcome, reason)

    def record_dead_token(self, push: Push, reason: str, since_ms: int | None) -> None:
        """Note a dead token."""
        device = push.device
        self.dead.append(
            DeadToken(
                self.run_id, push.user_id, device.platform.value, device.carrier.value, device.token, reason, since_ms
            )
        )

    def defer(self, push: Push) -> None:
        """The device's outcome stays open; a later round asks for it."""
        self.open -= 1
        self.deferred.append(push)
        self.account.deferred += 1


class BatchBuilder:
    """Forms batches from records: judges each, finds its arm, makes a push of each device.

    Args:
        arms: None forms no arms, as in a judgement of the file's first records.
    """

    def __init__(
        self, run_id: str, campaign_id: str, arms: Arms, renderer: Renderer, excluded: Container[str] = frozenset()
    ) -> None:
        self._run_id = run_id
        self._campaign_id = campaign_id
        self._arms = arms
        self._renderer = renderer
        self._excluded = excluded

    def form(self, number: int, first_record: int, records: Sequence[object], at_end: Cursor) -> Batch:
        """The batch of these records. `at_end` is the cursor behind them."""
        batch = Batch(self._run_id, self._campaign_id, number, 0, at_end)
        user_rows = UserRows()
        for record, value in enumerate(records, first_record):
            try:
                if isinstance(value, BrokenRecord):
                    raise value
                recipient = read_recipient(value)
                self._renderer.check(recipient)
            except BrokenRecord as error:
                batch.account.users += user_rows.starts_user(user_id_in(value))
                note_invalid(batch, record, str(error), value)
            else:
                batch.account.users += user_rows.starts_user(recipient.user_id)
                self._take(batch, record, value, user_rows.without_repeated_tokens(recipient), user_rows)
        return batch

    def passed(self, number: int, account: Account, at_end: Cursor) -> Batch:
        """A batch that is settled already."""
        batch = Batch(self._run_id, self._campaign_id, number, 0, at_end)
        batch.account = account
        batch.passed = True
        return batch

    def _take(self, batch: Batch, record: int, value: object, recipient: Recipient, user_rows: UserRows) -> None:
        for number, reason in recipient.broken_devices:
            note_invalid(batch, record, reason, value, number)
        if not recipient.devices:
            return
        account = batch.account
        if recipient.user_id in self._excluded:
            account.excluded += user_rows.counts_now()
            return
        arm = self._arms.names[self._arms.index_of(recipient.user_id.encode())]
        account.arm(arm).assigned += user_rows.counts_now()
        account.devices += len(recipient.devices)
        words = None if arm == CONTROL else self._renderer.render(arm, recipient)
        for place, device in recipient.devices:
            push = Push(batch, record, place, recipient.user_id, arm, device)
            push.locale = recipient.locale
            push.words = words
            batch.add(push)


def note_invalid(batch: Batch, record: int, reason: str, value: object, device: int | None = None) -> None:
    """Write a broken record or device down, with its user if one can be told."""
    batch.account.invalid_records += 1
    batch.invalid.append(Invalid(batch.run_id, record, reason, device, _user_of(value)))


def _user_of(value: object) -> str | None:
    """The user id of a record that may be broken in any way."""
    known = user_id_in(value)
    if known is not None:
        return known
    user_id = value.get("user_id") if isinstance(value, dict) else None
    if type(user_id) is int and user_id.bit_length() < 64:
        return str(user_id)
    return user_id[:512].encode("utf-8", "replace").decode() if type(user_id) is str else None


class FirstRecords:
    """What the first records of an audience hold, judged before anything is sent.

    `reasons` has one for each broken record, with the place of its first: `token: missing (record 3)`.
    """

    def __init__(self, records: Sequence[object], renderer: Renderer) -> None:
        self.broken = 0
        self.has_devices = False
        self._first: dict[str, int] = {}
        for number, value in enumerate(records):
            try:
                if isinstance(value, BrokenRecord):
                    raise value
                recipient = read_recipient(value)
                renderer.check(recipient)
                if not recipient.devices:
                    raise BrokenRecord(recipient.broken_devices[0][1])
                self.has_devices = True
            except BrokenRecord as error:
                self.broken += 1
                self._first.setdefault(str(error), number)

    def why(self, limit: int = 3) -> str:
        """The first reasons, each with its first place, records counted from 0."""
        shown = [f"{reason} (record {number})" for reason, number in islice(self._first.items(), limit)]
        rest = len(self._first) - len(shown)
        return "; ".join(shown) + (f"; and {rest} more reasons" if rest else "")
