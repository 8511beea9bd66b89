"""Puts one hop together from ports: the product's wiring, with AWS behind it in Lambda and with twins in tests."""

from collections.abc import Callable, Container, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from notifier.content.render import Renderer
from notifier.lifecycle.admitted import AdmittedCampaign
from notifier.model.arms import Arms
from notifier.model.campaign import Campaign
from notifier.model.cursor import Cursor
from notifier.model.exchange import Transport
from notifier.model.ledger import Ledger
from notifier.model.remainder import other_part_of
from notifier.model.run import Lane
from notifier.model.runtime import Clock, Deadline
from notifier.sending.answers import OnAnswer
from notifier.sending.batch_builder import BatchBuilder
from notifier.sending.batch_source import AudienceBatches, SourceOpener, Stream
from notifier.sending.carrier import Carrier
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.deferred_queue import DeferredQueue
from notifier.sending.deferred_rounds import DeferredRounds
from notifier.sending.dispatch import Dispatch
from notifier.sending.hop import Hop
from notifier.sending.hop_exit import Plan
from notifier.sending.lane_shares import LaneShares
from notifier.sending.rate_limit import RateLimit, SharedBudget
from notifier.sending.results import Results
from notifier.sending.send_times import SendTimes
from notifier.sending.settled_batch import SettledBatch
from notifier.sending.trouble_log import TroubleLog


@dataclass(frozen=True)
class Ports:
    """What a process has for all its hops.

    Args:
        background: threads for settlements, and for reading settled and deferred batches.
        ledger_background: a thread for the ledger alone: settlements that hang must not cost the lease.
        draw: a number in [0, 1), for jitter.
        window: how many pushes may be open at once.
        batch_size: records in a batch; anything but 500 is for simulations.
    """

    ledger: Ledger
    results: Results
    background: Executor
    ledger_background: Executor
    clock: Clock
    draw: Callable[[], float]
    window: int
    batch_size: int


@dataclass(frozen=True)
class Gateways:
    """What carries one hop's requests. `carriers` and `budgets` by endpoint; a budget limits requests, repeats too."""

    transport: Transport
    carriers: Mapping[str, Carrier]
    budgets: Mapping[str, SharedBudget]
    shares: LaneShares | None = None


@dataclass(frozen=True)
class Users:
    """Whom a hop sends to: the audience from a cursor on, without the user ids in the other three."""

    open: Callable[[Cursor], Stream]
    excluded: Container[str] = frozenset()
    suppressed: Container[str] = frozenset()
    holdout: Container[str] = frozenset()


@dataclass(frozen=True)
class Observers:
    """Who is called while a hop works: with each trouble, after each turn, with each answer of a gateway."""

    on_trouble: Callable[[str], None]
    on_turn: Callable[[Hop], None]
    on_answer: OnAnswer | None = None


def make_hop(
    ports: Ports,
    gateways: Gateways,
    users: Users,
    rate_limit: RateLimit,
    lane: Lane,
    admitted: AdmittedCampaign,
    deadline: Deadline,
    observers: Observers,
) -> Hop:
    """The hop of a claimed lane, ready to run."""
    clock, campaign = ports.clock, admitted.campaign
    troubles = TroubleLog(clock, observers.on_trouble, lane.trouble)
    checkpoint = Checkpoint(
        lane,
        ports.ledger,
        ports.results,
        ports.background,
        ports.ledger_background,
        clock,
        troubles,
        ports.batch_size,
    )
    # The health is the checkpoint's: dispatch notes what it sees there, and each ledger write carries it.
    dispatch = Dispatch(
        gateways.transport,
        gateways.carriers,
        checkpoint.health,
        clock,
        ports.draw,
        gateways.budgets,
        ports.window,
        observers.on_answer,
        gateways.shares,
        _times_of(lane, admitted),
    )
    opener = _source_opener(ports, users, lane, admitted)
    deferred = _deferred_rounds(ports, users, checkpoint, campaign.id, troubles)
    plan = _plan_of(campaign, lane)
    if waited_ms := lane.waited_ms(int(clock.now() * 1000)):
        rate_limit.carry_on(waited_ms / 1000)
    return Hop(checkpoint, dispatch, opener, deferred, rate_limit, plan, deadline, clock, observers.on_turn)


def _source_opener(ports: Ports, users: Users, lane: Lane, admitted: AdmittedCampaign) -> SourceOpener:
    campaign = admitted.campaign
    arms = Arms(campaign.salt, campaign.arms)
    renderer = Renderer(campaign)
    left_out = (users.excluded, users.suppressed, users.holdout, other_part_of(campaign))
    has_quiet = admitted.quiet is not None
    builder = BatchBuilder(lane.run_id, campaign.id, arms, renderer, *left_out, has_quiet_hours=has_quiet)

    def open_audience(checkpoint: Checkpoint, settled: Mapping[int, SettledBatch]) -> AudienceBatches:
        # Late: only after the settled batches are listed, so that a rest or a cancel costs no request for the audience.
        stream = users.open(checkpoint.cursor)
        return AudienceBatches(stream, builder, settled, checkpoint.suspects, ports.batch_size)

    return SourceOpener(ports.results, ports.background, open_audience, ports.batch_size)


def _deferred_rounds(
    ports: Ports, users: Users, checkpoint: Checkpoint, campaign_id: str, troubles: TroubleLog
) -> DeferredRounds:
    lane, results, background, size = checkpoint.lane, ports.results, ports.background, ports.batch_size
    # Most runs begin without deferred devices: then the objects need not be listed.
    nothing_deferred = not (lane.account.deferred or lane.asking or checkpoint.is_in_legacy_round)
    queue = DeferredQueue(
        results,
        background,
        ports.clock,
        lane.run_id,
        campaign_id,
        troubles,
        size,
        is_listed=nothing_deferred,
        suppressed=users.suppressed,
        batches=lane.batches(size),
    )
    return DeferredRounds(queue, results, background, checkpoint, lane.run_id, campaign_id, size)


def _plan_of(campaign: Campaign, lane: Lane) -> Plan:
    starts = [campaign.not_before.timestamp()] if campaign.not_before else []
    if lane.span is not None and lane.span.not_before_ms is not None:
        starts.append(lane.span.not_before_ms / 1000)
    return Plan(
        max(starts, default=None),
        campaign.abort_after.timestamp() if campaign.abort_after else None,
    )


def _times_of(lane: Lane, admitted: AdmittedCampaign) -> SendTimes:
    not_after_ms = lane.span.not_after_ms if lane.span else None
    return SendTimes(None if not_after_ms is None else not_after_ms / 1000, admitted.quiet_hours)
