"""A batch: source records 500n to 500n+499, as pushes on their way to one row each. The unit of accounting."""

from collections import deque

import msgspec

from notifier.content.render import RenderedTexts
from notifier.model.account import SUPPRESSED, Account
from notifier.model.campaign import CONTROL
from notifier.model.cursor import Cursor
from notifier.model.outcome import DeadToken, Excluded, Invalid, Outcome, Row
from notifier.model.recipient import Device, Environment, Gateway, Platform
from notifier.model.run import batch_name
from notifier.model.user_rows import BATCH_SIZE as BATCH_SIZE  # noqa: PLC0414 - most of its readers know it from here
from notifier.sending.settled_batch import SettledBatch

NO_TEXTS = RenderedTexts(("", ""))
"""What the control group gets."""
_FCM, _IOS, _SANDBOX = Gateway.FCM, Platform.IOS, Environment.SANDBOX
"""Bound once, here and in other modules: Python 3.11 takes 0.04 µs to find an enumeration's member."""
_GATEWAYS = {"fcm": Gateway.FCM, "apns": Gateway.APNS, "apns-sandbox": Gateway.APNS}
"""By endpoint."""


class Push(msgspec.Struct, eq=False):
    """One device to be asked for, with all that asking needs. Lives from its batch's forming to its row.

    Most of its fields change: times in seconds since the epoch, 0 before there was one. A struct, because there are
    10,000 at once, and one is made of every device of an audience.
    """

    batch: "Batch"
    record: int
    number: int
    """Which of the record's devices it is, from 0."""
    user_id: str
    arm: str
    device: Device
    endpoint: str
    """`endpoint_of` the device."""
    locale: str | None = None
    texts: RenderedTexts = NO_TEXTS
    attempts: int = 0
    """Requests so far, over all rounds."""
    counted: int = 0
    """Attempts refused while the endpoint accepted others: only these make it fail before its time is over."""
    asked_as: str | None = None
    """The id that the gateway was given for it, where it takes one."""
    asked_at: float = 0.0
    """When it was first asked for."""
    last_at: float = 0.0
    """When it was last asked for."""
    previous_asked_at: float = 0.0
    """When this device was asked the time before; at its first request the time of that one.

    If the endpoint accepted others since then, it refuses this device alone.
    """
    due_at: float = 0.0
    """Not to be asked for before this time."""
    at_end: bool = False
    """It was put off until the audience was read."""
    maybe_repeat: bool = False
    """A request that may have reached the phone went unanswered: the next one may be a repeat."""
    order: int = 0
    """Its index in the batch, those counted that were passed over."""
    is_repeated: bool = False
    """The account's `possibly_repeated` counts this device already, perhaps since an earlier round."""
    timezone: str | None = None
    """Of its user. Only where the run has quiet hours."""

    @property
    def is_control(self) -> bool:
        """Whether its user is in the control group: it gets the outcome `held`, and no request is made."""
        return self.arm == CONTROL

    @property
    def key(self) -> tuple[int, int]:
        """Record and device: unique in a run."""
        return self.record, self.number

    @property
    def name(self) -> str:
        """Run, record and device: the row's key, and what `apns-id` is made of."""
        return f"{self.batch.run_id}:{self.record}:{self.number}"

    def __repr__(self) -> str:
        return f"Push(record={self.record}, device={self.number}, arm={self.arm!r}, endpoint={self.endpoint!r})"


def endpoint_of(device: Device) -> str:
    """The endpoint that carries it: `fcm`, `apns`, or `apns-sandbox` for development builds."""
    # `device.carrier` without its call: this runs for every device of an audience.
    if device.gateway is _FCM or (device.gateway is None and device.platform is not _IOS):
        return "fcm"
    return "apns-sandbox" if device.environment is _SANDBOX else "apns"


class Batch:
    """One batch, from its forming until it is settled."""

    __slots__ = (
        "_asked",
        "account",
        "at_end",
        "campaign_id",
        "dead",
        "deferred",
        "excluded",
        "first_requests",
        "invalid",
        "number",
        "open",
        "passed_over",
        "passed_repeated",
        "pushes",
        "repeated",
        "round",
        "rows",
        "run_id",
        "settled",
        "settling",
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
        """Pushes that were not passed on to be asked for."""
        self.pushes = 0
        """How many devices it was formed with."""
        self.passed_over: list[int] = []
        """Indexes of devices whose users are suppressed now. An earlier claim may have asked for them."""
        self.passed_repeated = 0
        """How many of those `possibly_repeated` counts all the same."""
        self.repeated = 0
        """How many of its devices an earlier round counted in `possibly_repeated`."""
        self._asked = bytearray()
        """For which of them this claim has asked: 1 at the device's index. Half of the time of a number's bits."""
        self.first_requests = 0
        """How many of this claim's requests were the first for their device, as far as this claim can know."""
        self.suspected = 0
        """For how many of them earlier claims may have asked."""
        self.open = 0
        """Devices with neither outcome nor deferral."""
        self.settling = False
        self.settled: SettledBatch | None = None
        """What another claim settled it as: then only that is used, and nothing of it is sent."""
        self.rows: list[Row] = []
        self.invalid: list[Invalid] = []
        self.excluded: list[Excluded] = []
        self.dead: list[DeadToken] = []
        self.deferred: list[Push] = []
        self.account = Account()
        """What this batch adds to the run's account. In a later round its `deferred` begins below zero, because its
        devices are deferred no longer."""

    @property
    def name(self) -> str:
        """`batch=00000123`, in a deferred round `batch=00000123.r1`."""
        return batch_name(self.number, self.round)

    @property
    def settled_by_another(self) -> bool:
        """Whether another claim settled it before this one could send anything of it."""
        return self.settled is not None

    @property
    def devices(self) -> int:
        """How many devices it has, those of suppressed users counted: the same for each claim that forms it."""
        return self.pushes + len(self.passed_over)

    @property
    def is_complete(self) -> bool:
        """Every device has an outcome or is deferred."""
        return self.open == 0 and not self.waiting

    def add(self, push: Push, *, waits: bool = True) -> None:
        """Take a device into the batch. With `waits` false the caller passes it on to be asked for."""
        # Before `pushes` grows: the index from 0, which is the device's index in `_asked`.
        push.order = self.pushes + len(self.passed_over)
        if waits:
            self.waiting.append(push)
        self.open += 1
        # As `_count`, without its call: this runs for every device of an audience.
        self.pushes += 1
        if push.is_repeated:
            self.repeated += 1

    def exclude(self, record: int, user_id: str, reason: str) -> None:
        """Leave a user out: counted, and listed with the reason."""
        self.account.exclude(reason)
        self.excluded.append(Excluded(self.run_id, record, user_id, reason))

    def pass_over(self, devices: int) -> None:
        """Leave a suppressed user's devices out. Their indexes stay theirs."""
        begin = self.pushes + len(self.passed_over)
        self.passed_over += range(begin, begin + devices)

    def suppress(self, push: Push, at: str) -> None:
        """Record the outcome of a deferred device whose user was suppressed since: it is not asked for again."""
        self.record_outcome(push, Outcome.FAILED, SUPPRESSED, at)

    def keep(self, push: Push) -> None:
        """Take a device into the batch that is not due yet: it is deferred again, unasked."""
        self._count(push)
        self.deferred.append(push)
        self.account.deferred += 1

    def _count(self, push: Push) -> None:
        self.pushes += 1
        if push.is_repeated:
            self.repeated += 1

    def note_asked(self, push: Push) -> None:
        """A request for the device goes out, which may be a repeat."""
        asked, order = self._asked, push.order
        if order >= len(asked):  # the first request: by then the batch is formed
            asked.extend(bytes(self.pushes + len(self.passed_over) - len(asked)))
        if not push.maybe_repeat and not asked[order]:
            self.first_requests += 1
        asked[order] = 1
        if push.maybe_repeat:
            # Counted once for each unanswered request: the flag is set again if this one goes unanswered too.
            push.maybe_repeat = False
            self.count_repeats(push, 1)

    @property
    def asked(self) -> int:
        """For how many of its devices this claim has asked."""
        return self._asked.count(1)

    @property
    def asked_bits(self) -> int:
        """For which of its devices this claim has asked: bit n is the n-th."""
        return sum(1 << order for order, is_asked in enumerate(self._asked) if is_asked)

    def count_repeats(self, push: Push, requests: int) -> None:
        """So many requests for the device may have been repeats. The device itself is counted once, over all rounds."""
        self.account.repeat_requests += requests
        if not push.is_repeated:
            push.is_repeated = True
            self.account.possibly_repeated += 1

    @property
    def repeatable(self) -> int:
        """How many devices of it can be repeats that no account counts yet."""
        return self.account.repeatable(self.pushes, self.repeated)

    def hold(self, push: Push, at: str) -> None:
        """Record the outcome of a device of the control group: it is settled without a request."""
        self.record_outcome(push, Outcome.HELD, CONTROL, at)

    def record_outcome(
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
        self.rows.append(
            Row(
                self.run_id,
                self.campaign_id,
                push.record,
                push.number,
                push.user_id,
                push.arm,
                push.device.platform,
                _GATEWAYS[push.endpoint],
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
        """Add the device to the dead-token object. `since_ms`: when it died, where the gateway says so."""
        device = push.device
        self.dead.append(
            DeadToken(
                self.run_id, push.user_id, device.platform.value, device.carrier.value, device.token, reason, since_ms
            )
        )

    def forget_written(self) -> None:
        """Its objects are stored: keep only what counting needs, until the cursor has passed the batches before it.

        With answers as late as gateways give them, two of three open batches wait so, each with 200 KB of rows.
        """
        # New lists, as whoever has stored the batch may have kept the old ones.
        self.rows, self.invalid, self.excluded, self.dead = [], [], [], []

    def defer(self, push: Push) -> None:
        """Leave the device's outcome open: a later round asks for it."""
        # The batch is complete without it: its rows can settle, and the device is stored beside them.
        self.open -= 1
        self.deferred.append(push)
        self.account.deferred += 1
