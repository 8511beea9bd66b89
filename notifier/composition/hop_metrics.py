"""Observes a process and its hops: a log line a second, metrics a minute, the batches that are worth a trace."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from notifier.composition.hop_speed import HopSpeed, Wait
from notifier.composition.settings import Settings
from notifier.gateway.apns import verdict as apns
from notifier.gateway.carrier import TOO_LARGE
from notifier.gateway.fcm import verdict as fcm
from notifier.model.account import Outcomes
from notifier.model.campaign import Campaign
from notifier.model.log import Action
from notifier.model.run import HAND_OVER_MS, LEASE_MS, PREPARING, Ending, Lane, LaneState
from notifier.model.runtime import Clock
from notifier.sending.hop import Hop
from notifier.telemetry import Dimension, JsonLog, Metric, Metrics, Reading, Sending, Trace, Tracing, start_tracing
from notifier.telemetry.sending import GatewayFigures, Node

PROGRESS_EVERY_S = 1.0
"""Between two log lines."""
LOOK_EVERY_S = 0.25
"""The loop turns far more often than there is something to do here."""
METRICS_EVERY_S = 60.0
"""CloudWatch's own resolution."""
HOPS_PER_TRACE = 8
"""A trace holds 500 KB and a hop writes at most 48 KB of it: the chain goes on in another trace."""

OTHER = "other"
"""The metric's reason for every word that is in no table of ours."""
DOCUMENTED = frozenset(
    {
        *fcm.MEANINGS, *fcm.STATUS_WORDS, fcm.BAD_TOKEN, *apns.MEANINGS, TOO_LARGE.reason,
        *(f"http_{status}" for status in (*fcm.STATUSES, *apns.STATUSES)),
    }
)  # fmt: skip
"""Reasons that a rejection may have as a dimension of its metric."""

_ENDINGS = {Ending.COMPLETED: Metric.RUNS_COMPLETED, Ending.FAILED: Metric.RUNS_FAILED}
_STOPS = {"credentials_refused": Metric.CREDENTIALS_REFUSED, "no_progress": Metric.NO_PROGRESS}


def nodes(settings: Settings) -> Mapping[str, Node]:
    """The gateways as metrics and traces name them."""
    return {
        "fcm": Node("FCM", settings.fcm_base_url),
        "apns": Node("APNs", settings.apns_base_url),
        "apns-sandbox": Node("APNs sandbox", settings.apns_sandbox_base_url),
    }


class HopMetrics:
    """Observes one hop: `turn` after every turn of its loop, `sending.answered` with every answer of a gateway."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        log: JsonLog,
        metrics: Metrics,
        trace: Trace,
        speed: HopSpeed | None = None,
    ) -> None:
        self._clock = clock
        self._speed = speed
        self._log = log
        self._metrics = metrics
        self._nodes = nodes(settings)
        self.sending = Sending(trace, self._nodes, clock.now, self._log_batch if log.is_debug else None)
        self._log_at = self._look_at = 0.0
        self._reported_at = clock.monotonic()
        self._reported = Outcomes()
        self._reported_gateways: dict[str, tuple[int, float]] = {}

    def begin(self, hop: Hop) -> None:
        """Before the first turn: what earlier hops have done is not reported again."""
        # The account is the run's, over all hops; metrics are of what this hop adds.
        self._reported = hop.checkpoint.account.outcomes()

    def turn(self, hop: Hop) -> None:
        """Log and report what is due."""
        now_s = self._clock.monotonic()
        if now_s < self._look_at:
            return
        self._look_at = now_s + LOOK_EVERY_S
        self.sending.collect_ended()
        if now_s >= self._log_at:
            self._log_at = now_s + PROGRESS_EVERY_S
            self._log_progress(hop)
            self._note_speed(hop)
        if now_s >= self._reported_at + METRICS_EVERY_S:
            self._report(hop)

    def end(self, hop: Hop) -> None:
        """After the last turn."""
        self.sending.end()
        # The lane is left after this, and takes it along: a hop may be shorter than a second.
        self._note_speed(hop)
        self._report(hop, hops=1)

    def _note_speed(self, hop: Hop) -> None:
        if self._speed is None:
            return
        now_ms = int(self._clock.now() * 1000)
        hop.checkpoint.speed = self._speed.look(hop, self.sending.gateways, self._clock.monotonic(), now_ms)

    def _log_progress(self, hop: Hop) -> None:
        account = hop.checkpoint.account
        self._log.info(
            Action.PROGRESS,
            users=account.users,
            devices=account.devices,
            open=hop.dispatch.open_count,
            unsettled=hop.checkpoint.unsettled,
            remaining_ms=hop.deadline.remaining_ms(),
        )

    def _log_batch(self, name: str, figures: Mapping[str, object]) -> None:
        self._log.debug(Action.BATCH, batch=name, **figures)

    def _report(self, hop: Hop, hops: int = 0) -> None:
        """Emit what has happened since the last report."""
        now_s = self._clock.monotonic()
        # At least a millisecond: two reports may follow each other at once, and the rate divides by the time between.
        elapsed_s, self._reported_at = max(now_s - self._reported_at, 0.001), now_s
        before, self._reported = self._reported, hop.checkpoint.account.outcomes()
        rejected = _more(before.rejected, self._reported.rejected)
        failed = sum(_more(before.failed, self._reported.failed).values())
        accepted, held = self._reported.accepted - before.accepted, self._reported.held - before.held
        settled = accepted + held + failed + sum(rejected.values())
        values: dict[Metric, Any] = {
            Metric.ACCEPTED: accepted,
            Metric.REJECTED: sum(rejected.values()),
            Metric.FAILED: failed,
            Metric.HELD: held,
            Metric.PUSHES_PER_SECOND: round(settled / elapsed_s, 1),
        }
        batches_ms = [round(took_s * 1000) for took_s in self.sending.batches_s]
        # Each latency is reported once.
        self.sending.batches_s.clear()
        if batches_ms:
            values[Metric.BATCH_LATENCY] = batches_ms
        if hops:
            values[Metric.HOPS] = hops
        reasons = [
            Reading({Metric.REJECTED: n}, {Dimension.REASON: reason}) for reason, n in by_reason(rejected).items()
        ]
        gateways = [
            Reading({Metric.ANSWER_LATENCY: mean_ms}, {Dimension.GATEWAY: self._nodes[endpoint].name})
            for endpoint, figures in self.sending.gateways.items()
            if (mean_ms := self._mean_ms(endpoint, figures)) is not None
        ]
        self._metrics.emit(Reading(values), *reasons, *gateways, run_id=hop.checkpoint.lane.run_id)

    def _mean_ms(self, endpoint: str, figures: GatewayFigures) -> float | None:
        answers, total_s = self._reported_gateways.get(endpoint, (0, 0.0))
        self._reported_gateways[endpoint] = figures.answers, figures.total_s
        more = figures.answers - answers
        return round((figures.total_s - total_s) / more * 1000, 1) if more else None


def _more(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """What was added, by reason; a reason without an addition is left out."""
    return {reason: n - before.get(reason, 0) for reason, n in now.items() if n > before.get(reason, 0)}


def by_reason(rejected: Mapping[str, int]) -> dict[str, int]:
    """Rejections by a bounded set of reasons: every value of a dimension is a metric that is paid for.

    A word that no table has can be anything that a gateway, or a proxy before it, thinks of. Rows, counts and the
    report have it as it is.
    """
    counts: dict[str, int] = {}
    for reason, n in rejected.items():
        name = reason if reason in DOCUMENTED else OTHER
        counts[name] = counts.get(name, 0) + n
    return counts


def ended(lane: Lane) -> Reading:
    """A run that came to its end."""
    metric = _ENDINGS.get(lane.ending) if lane.ending else None
    return Reading({metric: 1} if metric else {})


def stopped(reason: str | None) -> Reading:
    """A run that waits until an operator has changed something."""
    values = {Metric.RUNS_STOPPED: 1}
    known = _STOPS.get((reason or "").partition(":")[0])
    return Reading(values | {known: 1} if known else values)


def ignored(files: int) -> Reading:
    """Files or messages that are no batch file."""
    return Reading({Metric.IGNORED_FILES: files} if files else {})


def suppression_unreadable() -> Reading:
    """A claim that sent nothing because the standing suppression could not be read."""
    return Reading({Metric.SUPPRESSION_UNREADABLE: 1})


def swept(stalled: int, given_up: int = 0) -> Reading:
    """A sweep that came to its end.

    Args:
        stalled: lanes that no worker came back to in time.
        given_up: dead letters that are not replayed any more.
    """
    return Reading({Metric.SWEEPS: 1, Metric.STALLED_LANES: stalled, Metric.LETTERS_GIVEN_UP: given_up})


class Observer:
    """The log, the metrics and the traces of one process."""

    def __init__(self, settings: Settings, clock: Clock, log: JsonLog) -> None:
        self.log = log
        self.metrics = Metrics(settings.stack, clock.now)
        self.tracing = start_tracing(settings.xray_daemon_address, settings.trace_sample)
        self._settings = settings
        self._clock = clock
        self._is_cold = True
        self._wait = Wait()

    @contextmanager
    def invocation(self, header: str, name: str) -> Iterator[Trace]:
        """Around a whole invocation. `header` is the trace header that Lambda gave it."""
        cold, self._is_cold = self._is_cold, False
        if cold:
            self.metrics.emit(Reading({Metric.COLD_STARTS: 1}))
        with self.tracing.invocation(header, name) as trace:
            trace.annotate(cold_start=cold)
            yield trace

    def hop(self, lane: Lane, campaign: Campaign) -> HopMetrics:
        """What watches one hop. Its trace is annotated; every few hops it goes on in a new one."""
        trace = Tracing.current
        trace.annotate(campaign=campaign.id, hop=lane.hop, epoch=lane.epoch, crashed_before=lane.crashed)
        if lane.hop % HOPS_PER_TRACE == 0:
            trace.start_new_trace()
        wait, self._wait = self._wait, Wait()
        speed = HopSpeed(lane, campaign, self._settings, wait, self._clock.monotonic())
        return HopMetrics(self._settings, self._clock, self.log, self.metrics, trace, speed)

    def began(self, lane: Lane | None, now_ms: int, dropped_at_ms: int | None = None) -> None:
        """A nudge arrived at a lane, here as it was before the claim: report how late.

        The first hop was due when S3 had the file (`dropped_at_ms`), a later one when it was handed over, and a lane
        that rests at its `due_at_ms`. A nudge that comes early, or at a lane that is not waiting, reports nothing.
        """
        self._wait = Wait()
        if lane is not None and lane.state is LaneState.RUNNING:
            # Its worker was killed: the lane has waited since that one's last write, which extended the lease.
            self._wait = Wait(max(now_ms - (lane.lease_until_ms - LEASE_MS), 0))
        if lane is None or lane.state not in (LaneState.READY, LaneState.RESTING) or lane.due_at_ms is None:
            return
        # A hand-over writes when the sweeper is to step in, which is HAND_OVER_MS after the lane was ready. A command,
        # and an audience that is prepared, make it due at their own time: only the sweeper moves that on.
        is_woken = (lane.reason or "").startswith(PREPARING) and now_ms >= lane.due_at_ms
        is_handed_over = lane.state is LaneState.READY and lane.due_at_ms != lane.control_at_ms and not is_woken
        due_at_ms = lane.due_at_ms - (HAND_OVER_MS if is_handed_over else 0)
        # Epoch 0: never claimed, so the file itself is what waited.
        if lane.epoch == 0 and dropped_at_ms is not None:
            due_at_ms = min(dropped_at_ms, now_ms)  # clocks differ a little
        if now_ms >= due_at_ms:
            self._wait = Wait(now_ms - due_at_ms, is_first=lane.epoch == 0)
            self.metrics.emit(Reading({Metric.LAG: now_ms - due_at_ms}))
