"""The report as a value, made from the run's summary, its campaign and its rows. No I/O.

The arms are compared by *assigned* users. Whether a push is accepted depends on the phone (a dead token, a gateway's
refusal), and the control group has such phones too: leaving unreachable users out of the other arms only would compare
different people.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from notifier.model.plurals import counted
from notifier.model.summary import Summary
from reporting.chi_squared import RatioCheck, check_ratio
from reporting.cost import DEFAULT_MEMORY_MB, Cost, Work, cost_of
from reporting.rows import RowFigures, Second

MAX_BARS = 120
"""The most bars of the time line; in a longer run each covers more seconds."""
WHY_ASSIGNED = (
    "Compare the arms by their assigned users, not by the accepted ones. Whether a push is accepted depends on the "
    "phone; the control group has users with dead tokens too, and leaving them out of the other arms only would "
    "compare different people."
)
HUNDREDTHS = 10_000
"""The shares of all arms together, in hundredths of a percent."""
DRY_RUN = "DRY RUN: nothing was sent. FCM only validated, APNs was not asked."


class ArmReport(msgspec.Struct, frozen=True):
    """One arm: `assigned` and `expected` are users, the rest devices; `percent` is None where it is not known."""

    name: str
    percent: float | None
    assigned: int
    expected: float | None
    accepted: int
    rejected: dict[str, int]
    failed: dict[str, int]
    held: int

    @property
    def devices(self) -> int:
        """Devices with an outcome."""
        return self.accepted + self.refused + self.given_up + self.held

    @property
    def refused(self) -> int:
        """Rejected, for whatever reason."""
        return sum(self.rejected.values())

    @property
    def given_up(self) -> int:
        """Failed, for whatever reason."""
        return sum(self.failed.values())


class Bar(msgspec.Struct, frozen=True):
    """Devices by outcome in the `seconds` from `at_s` (epoch seconds) on."""

    at_s: int
    seconds: int
    accepted: int
    rejected: int
    failed: int
    held: int

    @property
    def per_second(self) -> float:
        """Pushes a second, the control group left out: it gets none."""
        return (self.accepted + self.rejected + self.failed) / self.seconds


class Report(msgspec.Struct, frozen=True):
    """The report of a run. Times: epoch ms."""

    summary: Summary
    arms: tuple[ArmReport, ...]
    ratio: RatioCheck
    time_line: tuple[Bar, ...]
    duration_s: float | None
    pushes_per_s: float | None
    peak_per_s: int | None
    dead_tokens: int
    requests: int
    platforms: dict[str, int]
    gateways: dict[str, int]
    rows: int
    rows_agree: bool
    cost: Cost
    why_assigned: str = WHY_ASSIGNED

    @property
    def headline(self) -> str:
        """The first line."""
        summary = self.summary
        accepted = summary.outcomes["accepted"]
        if summary.dry_run:
            return DRY_RUN
        return f"{accepted:,} of {counted(summary.devices, 'device')} accepted by Apple and Google"


def make_report(
    summary: Summary,
    shares: Sequence[tuple[str, int]] | None,
    rows: RowFigures,
    dead_tokens: int,
    *,
    objects: int = 0,
    audience_bytes: int = 0,
    memory_mb: int = DEFAULT_MEMORY_MB,
) -> Report:
    """The report.

    Args:
        shares: name and hundredths of each arm; None where the campaign is not kept any more.
        objects: what the run wrote to S3 besides its rows.
    """
    arms = _arms_of(summary, shares)
    # Seconds in which only control users were held are no seconds of sending.
    pushes = [second.asked for second in rows.seconds.values() if second.asked]
    return Report(
        summary=summary,
        arms=arms,
        ratio=_ratio(arms, shares),
        time_line=_time_line(rows.seconds),
        duration_s=_duration_s(summary),
        pushes_per_s=sum(pushes) / summary.sending_s * summary.lanes if summary.sending_s else None,
        peak_per_s=max(pushes, default=None),
        dead_tokens=dead_tokens,
        requests=rows.requests,
        platforms=rows.platforms,
        gateways=rows.gateways,
        rows=rows.rows,
        rows_agree=_agree(summary, rows),
        cost=cost_of(_work(summary, rows, objects, audience_bytes, memory_mb)),
    )


def _work(summary: Summary, rows: RowFigures, objects: int, audience_bytes: int, memory_mb: int) -> Work:
    return Work(
        hops=summary.hops,
        sending_s=summary.sending_s,
        batches=rows.objects,  # each settled batch writes one object of rows
        objects=rows.objects + objects,
        stored_bytes=rows.stored_bytes,
        audience_bytes=audience_bytes,
        memory_mb=memory_mb,
    )


def _ratio(arms: Sequence[ArmReport], shares: Sequence[tuple[str, int]] | None) -> RatioCheck:
    """The check of the arms' sizes. Without the campaign the shares are unknown: then there is nothing to compare."""
    return check_ratio([arm.assigned for arm in arms], [share for _, share in shares] if shares else [0] * len(arms))


def _arms_of(summary: Summary, shares: Sequence[tuple[str, int]] | None) -> tuple[ArmReport, ...]:
    """The arms in the campaign's order, control last; in the account's where the campaign is not known."""
    # An arm without a user has no account, and is still to be compared: the campaign's list has all.
    known = dict(shares) if shares else dict.fromkeys(summary.arms)
    users = sum(_of(summary, name)["assigned"] for name in known)
    return tuple(_arm(name, share, _of(summary, name), users) for name, share in known.items())


def _of(summary: Summary, name: str) -> Mapping[str, Any]:
    empty: Mapping[str, Any] = {"assigned": 0, "accepted": 0, "rejected": {}, "failed": {}, "held": 0}
    found: Mapping[str, Any] = summary.arms.get(name, empty)
    return found


def _arm(name: str, share: int | None, figures: Mapping[str, Any], users: int) -> ArmReport:
    return ArmReport(
        name=name,
        percent=share / 100 if share is not None else None,
        expected=users * share / HUNDREDTHS if share is not None else None,
        assigned=figures["assigned"],
        accepted=figures["accepted"],
        rejected=dict(figures["rejected"]),
        failed=dict(figures["failed"]),
        held=figures["held"],
    )


def _time_line(seconds: Mapping[int, Second]) -> tuple[Bar, ...]:
    """Bars of equal length from the first outcome to the last, empty ones included, so that a pause is visible."""
    if not seconds:
        return ()
    first, last = min(seconds), max(seconds)
    length = -(-(last - first + 1) // MAX_BARS)  # rounded up: one bar more than MAX_BARS must not come out
    bars = [Second() for _ in range((last - first) // length + 1)]
    for at_s, second in seconds.items():
        bar = bars[(at_s - first) // length]
        bar.accepted += second.accepted
        bar.rejected += second.rejected
        bar.failed += second.failed
        bar.held += second.held
    return tuple(
        Bar(first + n * length, length, bar.accepted, bar.rejected, bar.failed, bar.held) for n, bar in enumerate(bars)
    )


def _duration_s(summary: Summary) -> float | None:
    if summary.started_at_ms is None or summary.ended_at_ms is None:
        return None
    return (summary.ended_at_ms - summary.started_at_ms) / 1000


def _agree(summary: Summary, rows: RowFigures) -> bool:
    """Whether the rows in S3 add up to the ledger's account."""
    accounted: dict[tuple[str, str, str], int] = {}
    for arm, figures in summary.arms.items():
        for outcome in ("accepted", "held"):
            accounted[arm, outcome, ""] = figures[outcome]
        for outcome in ("rejected", "failed"):
            for reason, n in figures[outcome].items():
                accounted[arm, outcome, reason] = n
    seen: dict[tuple[str, str, str], int] = {}
    for (arm, outcome, reason), n in rows.outcomes.items():
        # Accepted rows of a dry run have a reason, too; the account keeps reasons of refusals and failures only.
        key = (arm, outcome, reason if outcome in ("rejected", "failed") else "")
        seen[key] = seen.get(key, 0) + n
    # Zeros are in the account and have no rows.
    return {key: n for key, n in accounted.items() if n} == seen


def plain_of(report: Report) -> dict[str, Any]:
    """The report as plain values for JSON, with those that are properties of it."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    plain["headline"] = report.headline
    plain["ratio"]["in_words"] = report.ratio.in_words
    plain["cost"]["total_usd"] = report.cost.total_usd
    for arm, members in zip(report.arms, plain["arms"], strict=True):
        members["devices"] = arm.devices
    return plain
