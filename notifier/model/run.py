"""A run and its lane: what the ledger remembers between two invocations."""

import enum
import json
from hashlib import sha256

import msgspec

from notifier.model.account import Account
from notifier.model.cursor import Cursor
from notifier.model.health import EndpointEvidence
from notifier.model.hold import Hold
from notifier.model.span import Span
from notifier.model.speed import Speed
from notifier.model.user_rows import BATCH_SIZE

LEASE_MS = 30_000
"""A claim's lease, unless it is renewed."""
HEARTBEAT_MS = 2_500
"""A worker that wrote nothing for this long renews its lease, and so reads the operator's command.

Pause and cancel are promised within 5 s of the operator's command: the other half is for the control function's cold
start (1.3 s) and its writes, one for each lane (112 of them take about a second).
"""
BLIND_MS = 20_000
"""A worker that could not renew for this long starts no request: another may soon hold its lane."""
HAND_OVER_MS = 120_000
"""A lane that was handed over and not claimed for this long is nudged by the sweeper."""
MAX_IDLE_CLAIMS = 3
"""So many claims in a row may settle nothing; one more stops the run."""
EVERY_DEVICE = -1
"""The bits of all devices of a batch, however many it has: -1 has every bit set."""
EXPIRY = "the sweeper: its files are about to be deleted"
"""Who cancels a run that is older than the days for which what it goes on from is kept."""
FAILED_BY = "failed: lane "
"""How `control_by` begins where a lane that failed cancelled the others of its run."""
PREPARING = "preparing: "
"""How the reason of a lane begins that rests until its audience is made."""
LEDGER_VERSION = 1
"""The version of the ledger's items."""
LANES_VERSION = 2
"""The same of the lanes of a run that has several, and the newest that this release reads. A release does not touch
items of a newer version: one that knows a single lane would close the run when that lane is done."""


class LaneState(enum.StrEnum):
    """What a lane is doing."""

    READY = "ready"
    """Any worker may claim it."""
    RUNNING = "running"
    """A worker has claimed it, until its lease ends."""
    RESTING = "resting"
    """Not to be worked on before `due_at_ms`."""
    PAUSED = "paused"
    """Paused by an operator, until it is resumed."""
    STOPPED = "stopped"
    """Cannot go on until an operator has removed the reason and resumes it."""
    DONE = "done"
    """Nothing is left to do."""


class Control(enum.StrEnum):
    """What an operator wants of a run."""

    GO = "go"
    PAUSE = "pause"
    CANCEL = "cancel"


COMMANDS = {"pause": Control.PAUSE, "resume": Control.GO, "cancel": Control.CANCEL}
"""Operators' commands, by the names that they have for people."""
REFUSED = "no such run, or it is done"
"""Why a command is refused."""


class Ending(enum.StrEnum):
    """How a run that is done came to its end."""

    COMPLETED = "completed"
    """Every record was read and every device has an outcome."""
    FAILED = "failed"
    """The file is broken or refused; what was sent is accounted."""
    CANCELLED = "cancelled"
    """An operator ended it."""
    ABORTED = "aborted"
    """Its `abort_after` passed."""


class Source(msgspec.Struct, frozen=True):
    """The object a run sends: one version of one batch file. `version` is the VersionId, or the ETag without quotes."""

    bucket: str
    key: str
    version: str
    version_id: str | None
    etag: str

    @property
    def url(self) -> str:
        """As people write it."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def run_id(self) -> str:
        """The run's identity: the same for every event about this version of the object."""
        # A list in JSON, not a joined text: no key can be made to look like another bucket's.
        # Surrogates pass: a key with broken UTF-8 is a name like any other.
        name = json.dumps([self.bucket, self.key, self.version], ensure_ascii=False, separators=(",", ":"))
        return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def source_of(bucket: str, key: str, version_id: str | None, etag: str) -> Source:
    """The source an event names. Without versions S3 names the version `null`, or none: then the ETag is used."""
    # HEAD quotes it, events do not.
    etag = etag.strip('"')
    if version_id == "null":
        version_id = None
    return Source(bucket, key, version_id or etag, version_id, etag)


COUNTED_BY_CUT = "cut"
"""Its final cut, before anything is sent: what it counted too much is taken back only if the run ends early."""
COUNTED_BY_ROWS = "rows"
"""Its rows, when it is over."""


class Run(msgspec.Struct, frozen=True):
    """What is known of a run from its first nudge on. `put_by` is who started it, where the event names one.

    `opened_at_ms` is when its campaign was stored under `state/`; releases before this note did not write it.
    `counted_by` says what counts its users for caps (`COUNTED_BY_CUT`, `COUNTED_BY_ROWS`); empty where nothing does.
    """

    run_id: str
    source: Source
    created_at_ms: int
    put_by: str = ""
    campaign_id: str | None = None
    closed_at_ms: int | None = None
    opened_at_ms: int | None = None
    counted_by: str = ""


class UnfinishedClaim(msgspec.Struct, frozen=True, omit_defaults=True):
    """A claim that left batches unsettled: it may have asked for the round's batches with numbers under `below`.

    `asked` is there when the claim could still write: by unsettled batch, for how many devices it had asked. None after
    a crash: then it is not known. `which` has, for batches that it had asked for in part, which devices: bit n,
    hexadecimal, is the n-th device of the batch as it is formed from the audience.
    """

    epoch: int
    below: int
    asked: dict[int, int] | None = None
    which: dict[int, str] = {}

    def may_have_asked(self, number: int) -> bool:
        """Whether this claim may have asked for devices of a batch that is not settled."""
        return number < self.below and (self.asked is None or number in self.asked)

    def asked_of(self, number: int) -> int:
        """For which devices of a batch, by bits; `EVERY_DEVICE` where that is not known."""
        if not self.may_have_asked(number):
            return 0
        return int(self.which[number], 16) if number in self.which else EVERY_DEVICE

    def beyond(self, number: int) -> "UnfinishedClaim":
        """The same claim, when batch `number` and all before it are settled."""
        if not self.asked:
            return self
        asked = {other: n for other, n in self.asked.items() if other > number}
        return UnfinishedClaim(self.epoch, self.below, asked, {n: bits for n, bits in self.which.items() if n > number})


class Asking(msgspec.Struct, frozen=True, array_like=True):
    """A deferred batch that may have been asked for and is not in the account: number, round, claims by their epochs.

    `devices` is there when the last claim could still write: for how many of them it had asked.
    """

    number: int
    round: int
    epochs: tuple[int, ...]
    devices: int = 0


class RateWait(msgspec.Struct, frozen=True, array_like=True):
    """From when on a lane has waited for its next first request, in milliseconds since the epoch.

    Only of a lane whose share of the rate is less than one a second: its waiting outlasts a claim. `epoch` is the claim
    that said so; it counts for the next one alone.
    """

    epoch: int
    waits_from_ms: int


class Lane(msgspec.Struct, frozen=True):
    """One lane as it is in the ledger. All times in milliseconds since the epoch.

    Args:
        epoch: counts the claims; every write of a worker is conditional on it.
        may_ask_below: this claim may have asked for batches of the cursor's round up to this number (exclusive).
        most_devices: no batch that a claim may have asked for has more devices than this. It never falls.
        suspects: earlier claims that ended with requests out, until the cursor has passed all they may have asked for.
        trouble: what failed last since the cursor moved; empty when nothing did.
        hop: counts the invocations that worked.
        sending_ms: time spent sending, over all hops: the ramp's input.
        idle_claims: claims in a row that settled nothing.
        ends_at_ms: when the time of the invocation that works now is up.
        function_version: the version of the code that this run goes on with.
        gone_version: the version that it began with, where that one was deleted meanwhile.
        control_by, control_at_ms: who paused, resumed or cancelled the run last, and when.
        asking: deferred batches that may have been asked for and are not in the account yet. None in a lane of a
            release that asked for them in the order of their numbers, one round after the other.
        revision: counts the writes that move the account: an older one that arrives late is refused.
        health: what was seen of each endpoint, so that an outage is distinguished from a device that is refused alone.
        crashed: this claim took the lane over from a worker that never handed it over.
        span: what the lane sends; None for the only lane of a run, which sends everything.
        speed: how fast it sends, for people who look; None in a lane of a release that did not write it.
        repeats_left: of batches whose account has repeats that other claims added: by number, how many devices of
            theirs `possibly_repeated` does not count yet. Only as long as devices of them are deferred.
        rate_wait: of the last claim that waited for a rate below one a second. It has no meaning unless its epoch is
            this claim's or the one before.
        held: why the whole stack is held, as read with the last write; empty where it is not. Not stored in the lane.
    """

    run_id: str
    lane: int = 0
    epoch: int = 0
    state: LaneState = LaneState.READY
    control: Control = Control.GO
    lease_until_ms: int = 0
    due_at_ms: int | None = None
    cursor: Cursor = Cursor()
    may_ask_below: int = 0
    most_devices: int = 0
    suspects: tuple[UnfinishedClaim, ...] = ()
    hop: int = 0
    sending_ms: int = 0
    idle_claims: int = 0
    account: Account = msgspec.field(default_factory=Account)
    health: dict[str, EndpointEvidence] = {}
    asking: tuple[Asking, ...] | None = None
    revision: int = 0
    function_version: str = ""
    reason: str | None = None
    ending: Ending | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    ends_at_ms: int | None = None
    crashed: bool = False
    gone_version: str = ""
    control_by: str = ""
    control_at_ms: int | None = None
    trouble: str = ""
    span: Span | None = None
    held: str = ""
    speed: Speed | None = None
    repeats_left: dict[int, int] = {}
    rate_wait: RateWait | None = None

    @property
    def start(self) -> Cursor:
        """Where the lane begins."""
        return self.span.start if self.span else Cursor()

    def batches(self, size: int = BATCH_SIZE) -> tuple[int, int] | None:
        """The numbers of the lane's batches: the first, and the one after the last. None for all of the audience."""
        return self.span.batches(size) if self.span else None

    @property
    def cancel_reason(self) -> str | None:
        """Why the run was cancelled, where that was no person's decision."""
        if self.control_by != EXPIRY:
            return None
        return "expired: it was not over the day before its files are deleted (BatchFileDays, WorkDays, ResultDays)"

    def waited_ms(self, now_ms: int) -> int:
        """For how long it has waited for its next first request before this claim; 0 where that is not known."""
        # After a crash `rate_wait` is that of an earlier claim: since then requests have been made.
        if self.rate_wait is None or self.rate_wait.epoch != self.epoch - 1:
            return 0
        return max(now_ms - self.rate_wait.waits_from_ms, 0)

    @property
    def waits_for_rate(self) -> bool:
        """Whether its last claim left it waiting for its next first request."""
        return self.rate_wait is not None and self.rate_wait.epoch == self.epoch

    @property
    def has_begun(self) -> bool:
        """Whether an earlier claim settled anything, or may have asked for anything."""
        return self.cursor != self.start or bool(self.suspects)

    @property
    def unsettled(self) -> int:
        """Devices that were asked for in batches that could not be settled, as far as the claims could say so."""
        asked: dict[int, int] = {}
        for one in self.suspects:
            for number, devices in (one.asked or {}).items():
                asked[number] = max(asked.get(number, 0), devices)
        return sum(asked.values()) + sum(one.devices for one in self.asking or ())

    @property
    def status(self) -> str:
        """For people: the ending of a run that is done, else what it is doing."""
        if self.ending is not None:
            return self.ending.value
        if self.state is LaneState.RESTING and (self.reason or "").startswith(PREPARING):
            return "preparing"
        return {LaneState.READY: "running", LaneState.RUNNING: "running"}.get(self.state, self.state.value)


def waiting_state(span: Span, now_ms: int) -> LaneState:
    """What a lane that is entered waits as: ready, or, where its window opens later, at rest."""
    return LaneState.RESTING if (span.not_before_ms or 0) > now_ms else LaneState.READY


def first_due_ms(span: Span, now_ms: int, at_most_ms: int | None = None) -> int:
    """When a lane that is entered is due: as its window opens; one that is open in a moment, in case no nudge comes.

    Args:
        at_most_ms: it is looked at by this time, whenever its window opens: the campaign's `abort_after`.
    """
    opens_ms = span.not_before_ms or 0
    if opens_ms <= now_ms:
        return now_ms + LEASE_MS
    return opens_ms if at_most_ms is None else min(opens_ms, max(at_most_ms, now_ms))


def batch_name(number: int, round_: int) -> str:
    """The name of a batch's objects: `batch=00000123`, in the second deferred round `batch=00000123.r2`."""
    return f"batch={number:08d}" + (f".r{round_}" if round_ else "")


def state_key(run_id: str, name: str) -> str:
    """The key of what every hop of a run needs, by the name of that."""
    return f"state/run_id={run_id}/{name}.json"


class LaneTaken(Exception):
    """A nudge that finds nothing to do: another worker has the lane, or it waits, or it is done."""

    def __init__(self, lane: Lane | None) -> None:
        super().__init__(lane.state.value if lane else "unknown run")
        self.lane = lane


class LaneHeld(LaneTaken):
    """The stack is held: no lane may be claimed, but a cancelled one, which only has to be closed."""

    def __init__(self, lane: Lane, hold: Hold) -> None:
        super().__init__(lane)
        self.hold = hold

    def __str__(self) -> str:
        return self.hold.words


class LaneLost(Exception):
    """Another worker has claimed the lane since: this one must not write any more."""


class LedgerTooNew(Exception):
    """A newer release wrote this item: its own sweeper and workers go on with it."""
