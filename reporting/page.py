"""The report as one HTML page that needs nothing else: no script, no font, no picture from anywhere."""

from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files
from string import Template

from notifier.model.plurals import counted
from notifier.model.run import Control
from notifier.model.summary import Summary
from reporting import sql, svg
from reporting.experiment import section
from reporting.figures import ArmReport, Report
from reporting.outcome import Outcome, WinnerSeen
from reporting.slowness import why_slow
from reporting.times import duration, moment

MAX_REASONS = 20
_ARM_COLUMNS = ("arm", "share", "users assigned", "expected", "devices", "accepted", "rejected", "failed", "held")
_NAMES = {sql.Dialect.BIGQUERY: "BigQuery", sql.Dialect.ATHENA: "Athena", sql.Dialect.DUCKDB: "DuckDB"}


def page(report: Report, bucket: str, outcome: Outcome | None = None, winner: WinnerSeen | None = None) -> str:
    """The page as HTML. `bucket` holds the rows; `outcome` is what came of the goal, `winner` what was decided."""
    template = Template(files("reporting").joinpath("page.html").read_text(encoding="utf-8"))
    summary = report.summary
    return template.substitute(
        title=escape(f"{summary.campaign_id or summary.run_id} · {summary.status}"),
        banner=f'<p class="banner">{escape(report.headline)}</p>' if summary.dry_run else "",
        campaign=escape(summary.campaign_id or summary.run_id),
        status=escape(summary.status),
        when=escape(_when(report)),
        reason=f'<div class="note out_of_proportion">{escape(summary.reason)}</div>' if summary.reason else "",
        headline="" if summary.dry_run else escape(report.headline),
        cards="".join(
            f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
            for name, value in _cards(report)
        ),
        goal=section(outcome, winner),
        arms_picture=svg.arms_picture(report.arms),
        arms_table=_arms_table(report),
        ratio=report.ratio.verdict.value,
        ratio_words=escape(_ratio(report)),
        why_assigned=escape(report.why_assigned),
        time_line=svg.time_line(report.time_line) or '<p class="soft">No rows.</p>',
        time_words=escape(_time_words(report)),
        reasons=_reasons(report),
        work=_work(report),
        rows_prefix=escape(summary.rows_prefix),
        sql="".join(_sql(dialect, report, bucket) for dialect in sql.Dialect),
        run_id=escape(summary.run_id),
        source=escape(summary.source),
    )


def _cards(report: Report) -> Iterable[tuple[str, str]]:
    summary = report.summary
    outcomes = summary.outcomes
    yield "accepted by Apple / Google", f"{outcomes['accepted']:,}"
    yield "rejected", f"{sum(outcomes['rejected'].values()):,}"
    yield "failed", f"{sum(outcomes['failed'].values()):,}"
    yield "held (control)", f"{outcomes['held']:,}"
    yield "pushes a second", f"{report.pushes_per_s:,.0f}" if report.pushes_per_s else "–"
    yield "from start to end", duration(report.duration_s)
    yield "on AWS, estimated", f"${report.cost.total_usd:.4f}"


def _when(report: Report) -> str:
    summary = report.summary
    begun, ended = moment(summary.started_at_ms), moment(summary.ended_at_ms)
    return f"{begun} to {ended} · {counted(summary.users, 'user')} read · {counted(summary.devices, 'device')}"


def _ratio(report: Report) -> str:
    # No p-value: an arm too small for the test, or shares that are not known. The words say which.
    check = report.ratio
    if check.p_value is None:
        return check.in_words
    return (
        f"{check.in_words} (χ² = {check.chi_squared:.2f}, {check.degrees} degrees of freedom, p = {check.p_value:.3g})"
    )


def _arms_table(report: Report) -> str:
    head = "".join(f"<th>{name}</th>" for name in _ARM_COLUMNS)
    body = "".join(_row(_arm_cells(arm)) for arm in report.arms)
    arms = report.arms
    total = (
        "all", "", f"{sum(a.assigned for a in arms):,}", "", f"{sum(a.devices for a in arms):,}",
        f"{sum(a.accepted for a in arms):,}", f"{sum(a.refused for a in arms):,}",
        f"{sum(a.given_up for a in arms):,}", f"{sum(a.held for a in arms):,}",
    )  # fmt: skip
    return f"<table><tr>{head}</tr>{body}{_row(total, 'total')}</table>"


def _arm_cells(arm: ArmReport) -> tuple[str, ...]:
    def with_share(n: int) -> str:
        return f"{n:,} ({n / arm.devices:.1%})" if arm.devices and n else f"{n:,}"

    return (
        arm.name,
        f"{arm.percent:g} %" if arm.percent is not None else "",
        f"{arm.assigned:,}",
        f"{arm.expected:,.0f}" if arm.expected is not None else "",
        f"{arm.devices:,}",
        with_share(arm.accepted),
        with_share(arm.refused),
        with_share(arm.given_up),
        with_share(arm.held),
    )


def _row(cells: Iterable[str], kind: str = "") -> str:
    return f'<tr class="{kind}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _reasons(report: Report) -> str:
    counted: Counter[tuple[str, str]] = Counter()
    for arm in report.arms:
        counted.update({("rejected", reason): n for reason, n in arm.rejected.items()})
        counted.update({("failed", reason): n for reason, n in arm.failed.items()})
    if not counted:
        return '<p class="soft">None.</p>'
    body = "".join(_row((reason, outcome, f"{n:,}")) for (outcome, reason), n in counted.most_common(MAX_REASONS))
    return f'<div class="scroll"><table><tr><th>reason</th><th>outcome</th><th>devices</th></tr>{body}</table></div>'


def _work(report: Report) -> str:
    summary, cost = report.summary, report.cost
    rows = [
        *people_in(summary),
        ("hops (invocations that worked)", f"{summary.hops:,}"),
        ("time spent sending", duration(summary.sending_s)),
        *why_slow(summary),
        ("requests to the gateways", f"{report.requests:,}"),
        ("most pushes in a second", f"{report.peak_per_s:,}" if report.peak_per_s else "–"),
        ("dead tokens listed for you", f"{report.dead_tokens:,}"),
        ("broken records and devices", f"{summary.invalid_records:,}"),
        ("excluded users", excluded_in_words(summary)),
        ("unsent devices", f"{summary.unsent:,}"),
        (
            "possibly repeated",
            repeats_in_words(summary),
        ),
        (
            "rows agree with the ledger",
            "yes" if report.rows_agree else "no: the run is still under way, or rows expired",
        ),
        ("cost of Lambda, S3, DynamoDB", f"${cost.lambda_usd:.4f}, ${cost.s3_usd:.4f}, ${cost.dynamodb_usd:.4f}"),
    ]
    table = "".join(_row(row) for row in rows)
    basis = f'<p class="soft" style="margin:8px 0 0">Estimate: {escape(cost.basis)}.</p>'
    return f'<table class="facts">{table}</table>{basis}'


def _time_words(report: Report) -> str:
    if not report.time_line:
        return ""
    seconds = report.time_line[0].seconds
    return f"Outcomes by the time they were recorded, UTC; a bar is {seconds} s. The control group is not drawn."


def _sql(dialect: sql.Dialect, report: Report, bucket: str) -> str:
    text = escape(sql.script(dialect, report.summary.run_id, bucket))
    return f"<details><summary>{_NAMES[dialect]}</summary><pre>{text}</pre></details>"


_COMMANDS = {Control.PAUSE.value: "paused", Control.GO.value: "resumed", Control.CANCEL.value: "cancelled"}


def people_in(summary: Summary) -> Iterator[tuple[str, str]]:
    """Who approved the file, who put it there, and who paused, resumed or cancelled last: only what is known."""
    if summary.approved_by:
        yield "approved by", summary.approved_by
    if summary.put_by:
        yield "file put by", summary.put_by
    if summary.control_by:
        at = f", {moment(summary.control_at_ms)}" if summary.control_at_ms else ""
        yield "last command", f"{_COMMANDS.get(summary.control, summary.control)} by {summary.control_by}{at}"


EXCLUDED_WORDS = {
    "exclude": "on the exclude list",
    "suppressed": "suppressed",
}
"""Why users are excluded, in words."""


def excluded_in_words(summary: Summary) -> str:
    """How many users are excluded and why: `12 (10 suppressed, 2 on the exclude list)`."""
    why = ", ".join(f"{n:,} {EXCLUDED_WORDS.get(reason, reason)}" for reason, n in summary.excluded_by.items())
    return f"{summary.excluded:,} ({why})" if why else f"{summary.excluded:,}"


def repeats_in_words(summary: Summary) -> str:
    """Devices that may have got the push twice, and the requests behind them."""
    devices, requests = counted(summary.possibly_repeated, "device"), counted(summary.repeat_requests, "request")
    return f"{devices}, {requests}"
