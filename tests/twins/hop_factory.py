"""Makes hops in a simulation: the product's own composition, with twins of stores, gateways, threads and time."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from notifier.composition.gateways import lane_shares
from notifier.composition.hop_maker import Gateways, Observers, Ports, Users, make_hop
from notifier.lifecycle.admitted import AdmittedCampaign, NotAdmitted, StillPreparing
from notifier.lifecycle.lane_worker import LaneWorker
from notifier.lifecycle.run_closing import close_run
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import read_campaign
from notifier.model.cursor import Cursor
from notifier.model.log import Action
from notifier.model.outcome import Access
from notifier.model.quiet_hours import Quiet
from notifier.model.run import Lane, Run, source_of
from notifier.model.runtime import Deadline
from notifier.model.span import Span, spans_of
from notifier.model.store_error import StoreRefused
from notifier.model.whole_run import as_one
from notifier.sending.batch_source import BrokenInput, InputUnreachable, SuppressionUnreadable
from notifier.sending.hop import Hop
from notifier.sending.lane_shares import LaneRateLimit
from notifier.sending.rate_limit import RateLimit
from tests.twins.audience import MemoryAudience
from tests.twins.background import TwinBackground
from tests.twins.clock import TwinClock
from tests.twins.gateway import Phones, TwinCarrier, TwinTransport
from tests.twins.ledger import MemoryLedger
from tests.twins.settlements import MemoryResults

BUCKET = "twins"
ENDPOINTS = ("fcm", "apns")


class TwinLog:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[Action, dict[str, Any]]] = []

    def info(self, action: Action, **fields: Any) -> None:
        """Keep it."""
        self.lines.append((action, fields))

    warning = error = info


class TwinContinuation:
    """Keeps nudges until a test delivers them.

    Args:
        before: called before each; may raise, as a refused invocation does.
    """

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._before = before
        self.nudges: list[str] = []
        """Runs."""
        self.lanes: list[int] = []
        """The lane of each."""

    def nudge(self, run_id: str, lane: int, version: str, kind: str = "continue") -> None:
        """Keep it."""
        self._before()
        self.nudges.append(run_id)
        self.lanes.append(lane)


class World:
    """What several invocations share: stores, phones, the file, the time.

    Args:
        records: the users of the batch file.
        campaign: members of the campaign besides its id and message.
        size: records in a batch.
        lanes: over so many the run is spread, each a range of parts of one batch.
        fault: the index of a record, and what is raised in its place.
        seed: of all chance.
    """

    def __init__(
        self,
        records: Sequence[object],
        *,
        size: int = 500,
        lanes: int = 1,
        fault: tuple[int, Exception] | None = None,
        phones: Phones | None = None,
        recurse_below_ms: int = 60_000,
        window: int = 10_000,
        seed: int = 0,
        **campaign: Any,
    ) -> None:
        self.records = records
        self.size = size
        self.parts: Sequence[Sequence[object]] = [records]
        self.spans: tuple[Span, ...] = ()
        if lanes > 1:
            firsts = range(0, len(records), size)
            self.parts = [records[first : first + size] for first in firsts]
            self.spans = spans_of(firsts, len(records), lanes, size)
        self.fault = fault
        self.phones = phones or Phones()
        self.recurse_below_ms = recurse_below_ms
        self.window = window
        self.chance = random.Random(seed)
        self.clock = TwinClock()
        self.ledger = MemoryLedger(self.clock.now)
        self.results = MemoryResults()
        self.log = TwinLog()
        self.continuation = TwinContinuation()
        self.generation = 0
        self.barred: dict[str, Access] = {}
        """Endpoints that cannot be asked now, and why."""
        self.access_of: Callable[[str, float], Access | None] = lambda endpoint, _: self.barred.get(endpoint)
        self.ttl_s: float | None = None
        """The message's time to live."""
        self.per_second: float | None = None
        """The rate limit, where it is lower than a campaign's can be."""
        self.quiet: Quiet | None = None
        """The quiet hours in force."""
        self.refusal: str | None = None
        """Why the file cannot be opened."""
        self.unreachable: str | None = None
        """Why the file cannot be opened yet."""
        self.preparing: str | None = None
        """What is going on while the audience is made."""
        self.asked_audiences: list[str] = []
        """Runs whose audience was asked for."""
        self.suppressed: set[str] = set()
        """User ids that every run leaves out, as they are now."""
        self.cut: dict[str, int] = {}
        """Whom the final cut has left out: so many users, by reason."""
        self.suppression_unreadable: str | None = None
        """Why they cannot be read."""
        self.state_refused: str | None = None
        """Why the run's state may not be stored."""
        self.campaign: Campaign = read_campaign(
            {"id": "c", "message": {"title": "t", "body": "b"}} | _campaign_members(campaign)
        )
        self.run = Run("r", source_of(BUCKET, "batches/f.json", "v", "e"), int(self.clock.now() * 1000))
        self.ledger.open_run(self.run)

    def rows_of(self, batches: Iterable[int]) -> int:
        """How many rows some batches of the first round have."""
        return sum(len(self.results.rows[self.run.run_id, number, 0].rows) for number in batches)

    def audience(self, cursor: Cursor, span: Span | None) -> MemoryAudience:
        """The records from a cursor on, to the end of what the lane sends."""
        parts = self.parts[: span.end_part] if span else self.parts
        # The record behind a lane's last is another lane's.
        is_beyond = self.fault is not None and span is not None and self.fault[0] >= span.end
        return MemoryAudience(parts, cursor, fault=None if is_beyond else self.fault)

    @property
    def lane(self) -> Lane:
        """The run's lanes as one, as the ledger has them."""
        return as_one(self.ledger.lanes_of(self.run.run_id))


class TwinHops:
    """One process of the worker in a world: the product's own composition, with twins of everything around it.

    Args:
        waits: lets the time of a poll pass.
        latency_s: how long the next answer takes.
        step: called before each step of closing a run.
        is_old: the code is of a release that knows one lane only.
    """

    def __init__(
        self,
        world: World,
        waits: Callable[[float], None],
        latency_s: Callable[[], float] = lambda: 0.1,
        step: Callable[[str], None] = lambda _: None,
        *,
        is_old: bool = False,
    ) -> None:
        self.is_old = is_old
        self.world = world
        self.background = TwinBackground()
        self.ledger_background = TwinBackground()
        self.hops: list[Hop] = []
        self.transport = TwinTransport(world.phones, world.clock, waits, latency_s)
        self._step = step
        self._suppressed: frozenset[str] = frozenset()
        """Those that were read at the last claim."""
        self.carriers = {
            name: TwinCarrier(name, world.phones, self.background, world.generation, world.ttl_s, world.access_of)
            for name in ENDPOINTS
        }

    def open(self, run: Run, lane: Lane) -> AdmittedCampaign:
        """What every hop needs to know."""
        if self.world.refusal is not None:
            raise NotAdmitted(self.world.refusal)
        if self.world.state_refused is not None:
            raise StoreRefused(self.world.state_refused)
        if self.world.unreachable is not None:
            raise InputUnreachable(self.world.unreachable)
        if self.world.preparing is not None:
            raise StillPreparing(self.world.preparing)
        if self.world.suppression_unreadable is not None:
            raise SuppressionUnreadable(self.world.suppression_unreadable)
        self._suppressed = frozenset(self.world.suppressed)
        world = self.world
        return AdmittedCampaign(world.campaign, (), True, (), False, excluded_by=world.cut, quiet=world.quiet)

    def lanes(self, run: Run, lane: Lane, admitted: AdmittedCampaign) -> tuple[Span, ...]:
        """What each lane sends; a release that knows one lane only looks for nothing."""
        return () if self.is_old else self.world.spans

    def ask_for_audience(self, run: Run) -> None:
        """Keep the run, until a test makes its audience."""
        self.world.asked_audiences.append(run.run_id)

    def prove_writable(self, run: Run) -> None:
        """Prove that this run's batches could be settled."""
        self.world.results.prove_writable(run.run_id)

    @contextmanager
    def hop(
        self, run: Run, lane: Lane, admitted: AdmittedCampaign, deadline: Deadline, on_trouble: Callable[[str], None]
    ) -> Iterator[Hop]:
        """The hop of a claimed lane."""
        world = self.world
        self.transport.suppressed = self._suppressed
        per_second = world.per_second or admitted.campaign.per_second or None
        ports, now_s = self._ports(), world.clock.monotonic()
        shares = lane_shares(ports, lane)
        limit = RateLimit(per_second, 0.0, lane.sending_ms / 1000, now_s)
        if shares is not None:
            limit = LaneRateLimit(per_second, 0.0, lane.sending_ms / 1000, now_s, shares)
        hop = make_hop(
            ports,
            Gateways(self.transport, self.carriers, {}, shares),
            Users(
                lambda cursor: world.audience(cursor, lane.span),
                suppressed=self._suppressed,
            ),
            limit,
            lane,
            admitted,
            deadline,
            Observers(on_trouble, on_turn=lambda _: None),
        )
        self.hops.append(hop)
        yield hop

    def _ports(self) -> Ports:
        world = self.world
        return Ports(
            world.ledger,
            world.results,
            self.background,
            self.ledger_background,
            world.clock,
            world.chance.random,
            world.window,
            world.size,
        )

    def close(self, run: Run, lane: Lane) -> None:
        """Write the summary, announce the end."""
        self._step("summary")
        world = self.world
        close_run(world.ledger, world.results, lambda run_id, summary: self._step("close"), run, lane, BUCKET)

    def lane_worker(self) -> LaneWorker:
        """What works on lanes in this process."""
        world = self.world
        return LaneWorker(
            world.ledger,
            world.continuation.nudge,
            self,
            self.background,
            world.clock,
            world.log,
            world.recurse_below_ms,
            world.size,
        )


def users(count: int, *, first: int = 0, platform: str = "android") -> list[dict[str, object]]:
    """Users with one device each; the token of record n is `t{n}.0`."""
    return [
        {"user_id": f"u{n}", "devices": [{"platform": platform, "token": f"t{n}.0"}]}
        for n in range(first, first + count)
    ]


def broken_at(record: int) -> tuple[int, Exception]:
    """A file that cannot be read on from a record."""
    return record, BrokenInput(f"not JSON at record {record}")


def _campaign_members(members: dict[str, Any]) -> dict[str, Any]:
    control = members.get("control_percent")
    if not control:
        return members
    return members | {"control_percent": control, "variants": [{"name": "sent", "percent": 100 - control}]}
