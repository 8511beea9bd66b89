"""The report: figures, the check of the arms' sizes, time line, cost, and a page that needs nothing else."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from notifier.model.summary import Summary
from reporting import sql
from reporting.chi_squared import RatioVerdict, check_ratio, survival
from reporting.cost import LAMBDA_GB_SECOND, Work, cost_of
from reporting.figures import MAX_BARS, Report, make_report, plain_of
from reporting.page import page
from reporting.rows import RowFigures, SeenRow
from reporting.table import screen
from reporting.times import duration

SHARES = (("question", 4500), ("statement", 4500), ("control", 1000))


def arm(assigned: int, accepted: int = 0, held: int = 0, **reasons: Any) -> dict[str, Any]:
    rejected, failed = reasons.get("rejected", {}), reasons.get("failed", {})
    return {"assigned": assigned, "accepted": accepted, "rejected": rejected, "failed": failed, "held": held}


def summary(**changes: Any) -> Summary:
    arms = {
        "question": arm(450, 440, rejected={"UNREGISTERED": 8}, failed={"unanswered": 2}),
        "statement": arm(455, 455),
        "control": arm(95, held=95),
    }
    values: dict[str, Any] = {
        "run_id": "0" * 20,
        "campaign_id": "day-2",
        "status": "completed",
        "reason": None,
        "dry_run": False,
        "source": "s3://b/batches/day-2.json",
        "put_by": "ann",
        "users": 1000,
        "devices": 1000,
        "invalid_records": 3,
        "excluded": 0,
        "unsent": 0,
        "possibly_repeated": 1,
        "arms": arms,
        "outcomes": {"accepted": 895, "rejected": {"UNREGISTERED": 8}, "failed": {"unanswered": 2}, "held": 95},
        "hops": 2,
        "sending_s": 2.0,
        "started_at_ms": 1_795_272_416_000,
        "ended_at_ms": 1_795_272_420_000,
        "rows_prefix": "s3://b/rows/run_id=0/",
    }
    return Summary(**(values | changes))


def rows(seconds: int = 3) -> RowFigures:
    """The rows of `summary()`, spread over some seconds."""
    figures = RowFigures()
    accounted = [("question", "accepted", None, 440), ("question", "rejected", "UNREGISTERED", 8)]
    accounted += [
        ("question", "failed", "unanswered", 2),
        ("statement", "accepted", None, 455),
        ("control", "held", None, 95),
    ]
    n = 0
    for name, outcome, reason, count in accounted:
        for _ in range(count):
            at = f"2026-11-21 14:{n % seconds // 60:02d}:{n % seconds % 60:02d}.123"
            figures.add([SeenRow(name, outcome, "fcm", "android", at, 0 if outcome == "held" else 1, reason)])
            n += 1
    return figures


def report(**changes: Any) -> Report:
    return make_report(summary(**changes), SHARES, rows(), 8)


@pytest.mark.parametrize(
    ("chi_squared", "degrees", "p_value"),
    [
        (3.841458820694124, 1, 0.05),
        (6.6348966010212145, 1, 0.01),
        (10.827566170662733, 1, 0.001),
        (5.991464547107979, 2, 0.05),
        (18.307038053275146, 10, 0.05),
        (124.34211340400407, 100, 0.05),
        (0.0039321400000195, 1, 0.95),
        (0.0, 3, 1.0),
    ],
)
def test_survival_is_that_of_the_tables(chi_squared: float, degrees: int, p_value: float) -> None:
    """The quantiles of statistical tables have the probabilities they stand for."""
    assert survival(chi_squared, degrees) == pytest.approx(p_value, rel=1e-8)


def test_survival_falls() -> None:
    """The larger the value the less likely, on both sides of the two ways it is worked out."""
    values = [survival(n / 10, 4) for n in range(1, 400)]
    assert values == sorted(values, reverse=True)
    assert 0 < values[-1] < 1e-6


def test_arms_in_proportion_can_be_compared() -> None:
    """A difference that chance makes often is no alarm."""
    check = check_ratio([450, 455, 95], [4500, 4500, 1000])
    assert check.verdict is RatioVerdict.IN_PROPORTION
    assert check.degrees == 2
    assert check.p_value is not None
    assert check.p_value > 0.5
    assert "can be compared" in check.in_words


def test_arms_out_of_proportion_are_called_so() -> None:
    """Losing four per cent of one arm of many is found, and said in words."""
    check = check_ratio([43_200, 45_000, 10_000], [4500, 4500, 1000])
    assert check.verdict is RatioVerdict.OUT_OF_PROPORTION
    assert "do not compare" in check.in_words


@pytest.mark.parametrize(
    ("assigned", "shares", "verdict"),
    [
        ([10], [10_000], RatioVerdict.ONE_ARM),
        ([3, 4], [5_000, 5_000], RatioVerdict.TOO_FEW),
        ([0, 0], [5_000, 5_000], RatioVerdict.TOO_FEW),
        ([10, 0], [10_000, 0], RatioVerdict.ONE_ARM),
    ],
)
def test_what_cannot_be_checked_is_not(assigned: list[int], shares: list[int], verdict: RatioVerdict) -> None:
    """One arm, or a handful of users, say nothing."""
    check = check_ratio(assigned, shares)
    assert check.verdict is verdict
    assert check.in_words


def test_arms_stand_side_by_side() -> None:
    """Assigned against expected users, and devices by outcome, in the campaign's order."""
    made = report()
    assert [one.name for one in made.arms] == ["question", "statement", "control"]
    assert [(one.percent, one.assigned, one.expected) for one in made.arms] == [
        (45.0, 450, 450.0), (45.0, 455, 450.0), (10.0, 95, 100.0),
    ]  # fmt: skip
    question = made.arms[0]
    assert (question.accepted, question.refused, question.given_up, question.devices) == (440, 8, 2, 450)


def test_rows_are_held_against_the_ledger() -> None:
    """Rows that say the same as the account agree; one row less is noticed."""
    assert report().rows_agree
    fewer = RowFigures()
    fewer.add([SeenRow("question", "accepted", "fcm", "android", "2026-11-21 14:00:00.000", 1)])
    assert not make_report(summary(), SHARES, fewer, 0).rows_agree


def test_time_line() -> None:
    """Every second has a bar; the control group is not counted as pushes."""
    made = report()
    assert [bar.seconds for bar in made.time_line] == [1, 1, 1]
    assert sum(bar.accepted for bar in made.time_line) == 895
    assert sum(bar.held for bar in made.time_line) == 95
    assert made.pushes_per_s == 905 / 2.0
    assert made.duration_s == 4.0


def test_a_long_run_has_long_bars() -> None:
    """A run of many minutes has no more bars than fit, and loses no device."""
    made = make_report(summary(), SHARES, rows(500), 0)
    assert len(made.time_line) <= MAX_BARS
    assert {bar.seconds for bar in made.time_line} == {5}
    assert sum(bar.accepted for bar in made.time_line) == 895


def test_without_the_campaign_the_shares_are_not_made_up() -> None:
    """Once the run's state has expired, arms have no expected size and are not checked."""
    made = make_report(summary(), None, rows(), 0)
    assert [one.expected for one in made.arms] == [None, None, None]
    assert made.ratio.verdict is RatioVerdict.ONE_ARM


def test_cost_grows_with_the_work() -> None:
    """Gigabyte-seconds are those of the memory and the time; more batches cost more."""
    small = cost_of(Work(hops=1, sending_s=7.0, batches=2, objects=2, memory_mb=1024))
    large = cost_of(Work(hops=1, sending_s=7.0, batches=2_000, objects=2_000, memory_mb=1024))
    assert small.gb_seconds == 10.0
    assert small.lambda_usd == pytest.approx(10 * LAMBDA_GB_SECOND, rel=0.01)
    assert large.total_usd > small.total_usd


def test_a_dry_run_says_so_first() -> None:
    """The first line of every form says that nothing was sent."""
    made = report(dry_run=True)
    assert made.headline.startswith("DRY RUN")
    text = re.sub(r"(?s)<head>.*</head>|<[^>]+>", " ", page(made, "b"))
    assert text.split()[:4] == ["DRY", "RUN:", "nothing", "was"]
    assert printed(made).lstrip().startswith("DRY RUN")


def printed(made: Report) -> str:
    from rich.console import Console

    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123 - never read
    with console.file:
        console.print(screen(made))
        return console.export_text()


def test_nothing_is_called_delivered() -> None:
    """What was delivered or seen is unknown: no form of the report says so."""
    made = report()
    for text in (page(made, "b"), printed(made), str(plain_of(made))):
        assert "delivered" not in text.lower()
    assert "accepted by Apple and Google" in printed(made)


class _References(HTMLParser):
    """What a page would fetch, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href", "data", "action") and value]
        if tag in ("script", "link", "iframe", "object"):
            self.found.append(tag)
        if tag not in ("meta", "br", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag


def test_the_page_fetches_nothing() -> None:
    """No script, no font, no picture from anywhere; and every tag is closed."""
    text = page(report(), "b")
    references = _References()
    references.feed(text)
    assert references.found == []
    assert references.open == []
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_escapes_names() -> None:
    """A campaign's id or a reason cannot put markup into the page."""
    made = make_report(
        summary(campaign_id="<script>alert(1)</script>", reason='"><img src=x>', source="s3://b/<b>"), SHARES, rows(), 0
    )
    text = page(made, "b")
    assert "<script" not in text
    assert "<img" not in text
    assert "<b>alert" not in text


def test_a_run_without_rows_has_a_page() -> None:
    """A run that failed before its first batch is reported all the same."""
    empty = summary(
        status="failed", reason="broken campaign", arms={}, users=0, devices=0, started_at_ms=None, ended_at_ms=None,
        sending_s=0.0, outcomes={"accepted": 0, "rejected": {}, "failed": {}, "held": 0},
    )  # fmt: skip
    made = make_report(empty, None, RowFigures(), 0)
    assert "broken campaign" in page(made, "b")
    assert "broken campaign" in printed(made)


def test_json_holds_what_is_worked_out() -> None:
    """The JSON has the headline, the check in words and the total cost."""
    plain = plain_of(report())
    assert plain["headline"] == "895 of 1,000 devices accepted by Apple and Google"
    assert plain["ratio"]["in_words"]
    assert plain["cost"]["total_usd"] > 0
    assert plain["arms"][0]["devices"] == 450


@pytest.mark.parametrize("dialect", list(sql.Dialect))
def test_sql_compares_assigned_users(dialect: sql.Dialect) -> None:
    """Every dialect's script names the run, the rows and the conversions, and never filters by outcome."""
    text = sql.script(dialect, "0" * 20, "my-bucket", "app.conversions")
    assert "my-bucket/rows" in text
    assert "app.conversions" in text
    assert "outcome =" not in text
    assert text.count("0" * 20) == 2


def test_names_in_sql_are_quoted() -> None:
    """A quote in a name does not end the text that contains it."""
    assert "it''s" in sql.outcomes_query("it's", "t")


def test_durations() -> None:
    """Durations are said as people say them."""
    assert [duration(value) for value in (None, 6.61, 75, 7384)] == ["–", "6.6 s", "1 min 15 s", "2 h 03 min"]
