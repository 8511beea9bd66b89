"""Results for readers who know no statistics: the figures are the report's, and no sentence contradicts a verdict."""

import pytest

from approval.reasons import decision_in_words
from notifier.model.campaign import CONTROL
from reporting.chi_squared import RatioCheck, RatioVerdict
from reporting.page_words import HEAD, WHEN, chance_in_words, often, share_in_words, sizes_in_words, table_rows
from reporting.statistics.comparison import Basis, Comparison, Experiment, compare
from reporting.statistics.fixed_horizon import Arm
from reporting.statistics.verdict import Finding


def compared(control: tuple[int, int], variant: tuple[int, int], basis: Basis = Basis.FINAL) -> Comparison:
    arms = ((CONTROL, Arm(*control)), ("a", Arm(*variant)))
    return compare(Experiment(arms, CONTROL, control_in_words="no push"), basis)


@pytest.mark.parametrize(
    ("p_value", "words"),
    [
        (1.0, "100 of 100"),
        (0.0312, "3 of 100"),
        (0.01, "1 of 100"),
        (0.0099, "1 of 101"),
        (0.00042, "1 of 2,381"),
        (1e-7, "less than 1 of 1,000,000"),
        (0.0, "less than 1 of 1,000,000"),
    ],
)
def test_how_often(p_value: float, words: str) -> None:
    """A share of campaigns, never a decimal fraction."""
    assert often(p_value) == words


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "0.0 %"), (0.0013, "0.13 %"), (0.00996, "1.0 %"), (0.0688, "6.9 %"), (1.0, "100.0 %")]
)
def test_shares(share: float, words: str) -> None:
    """One decimal place; below 1 % two, or 0.13 and 0.16 would look alike."""
    assert share_in_words(share) == words


def test_chance_follows_the_verdict() -> None:
    """What is called better is probably not chance, what is not shown may be, and of an early look it is a bound."""
    better = compared((10_000, 500), (10_000, 580)).lifts[0]
    assert better.verdict.finding is Finding.BETTER
    assert chance_in_words(better, Basis.FINAL) == (
        "Probably not chance: such a difference would be seen in 1 of 100 campaigns without any effect."
    )
    not_shown = compared((10_000, 500), (10_000, 540)).lifts[0]
    assert not_shown.verdict.finding is Finding.NOT_SHOWN
    assert chance_in_words(not_shown, Basis.FINAL) == (
        "It may be chance: such a difference would be seen in 20 of 100 campaigns without any effect."
    )
    early = compared((10_000, 500), (10_000, 700), Basis.LOOK).lifts[0]
    assert early.verdict.finding is Finding.BETTER
    assert "would be seen at some look in at most 1 of" in chance_in_words(early, Basis.LOOK)
    sure = compared((10_000, 500), (10_000, 1_500), Basis.LOOK).lifts[0]
    assert "at some look in less than 1 of 1,000,000 campaigns" in chance_in_words(sure, Basis.LOOK)
    equal = compared((10_000, 500), (10_000, 500), Basis.LOOK).lifts[0]
    assert chance_in_words(equal, Basis.LOOK) == (
        "It may be chance: such a difference is nothing unusual without any effect."
    )
    assert chance_in_words(compared((0, 0), (10, 1)).lifts[0], Basis.FINAL) == ""


def test_the_table() -> None:
    """A cell for each column; control is compared with nothing; an early look's chance is a bound."""
    rows = table_rows(compared((10_000, 500), (10_000, 580)))
    assert [len(row) for row in rows] == [len(HEAD)] * 2
    assert rows[0] == (CONTROL, "10,000", "500", "5.0 %", "4.6 % to 5.4 %", "", "")
    assert rows[1] == ("a", "10,000", "580", "5.8 %", "5.4 % to 6.3 %", "+3.3 % to +30 %", "1 of 100")
    assert table_rows(compared((10_000, 500), (10_000, 700), Basis.LOOK))[1][-1].startswith("at most 1 of ")
    assert table_rows(compared((10_000, 500), (10_000, 1_500), Basis.LOOK))[1][-1] == "less than 1 of 1,000,000"
    assert table_rows(compared((0, 0), (0, 0)))[0][3:5] == ("–", "–")


def test_sizes_and_times_without_terms() -> None:
    """Whether groups may be compared, and how final figures are: each in one sentence without a term or a flag."""
    assert set(WHEN) == set(Basis)
    said = [*WHEN.values()]
    for verdict in RatioVerdict:
        p_value = 1e-5 if verdict in (RatioVerdict.IN_PROPORTION, RatioVerdict.OUT_OF_PROPORTION) else None
        said.append(sizes_in_words(RatioCheck(verdict, None, None, p_value)))
    assert "in 1 of 100,000 campaigns" in sizes_in_words(RatioCheck(RatioVerdict.OUT_OF_PROPORTION, 1.0, 1, 1e-5))
    for one in said:
        assert one
        for term in ("p =", "p-value", "interval", "--", "%", "χ"):
            assert term not in one, one


def test_why_a_winner_was_decided() -> None:
    """The reason without which test it was; any other words are as they were written."""
    stored = "better than no push: between +17 % and +63 % (at any look, smallest lift +20 %); of 2 that are, the one"
    assert decision_in_words(stored) == "better than no push: between +17 % and +63 %; of 2 that are, the one"
    assert decision_in_words("every variant is worse than no push") == "every variant is worse than no push"
    assert decision_in_words("a: nothing goes to the remainder") == "a: nothing goes to the others"
    assert decision_in_words("a: nothing went to the remainder") == "a: nothing went to the others"
    gone = "what the test began with (under state/) is gone: nothing goes to the remainder"
    assert decision_in_words(gone) == "what the test began with is gone: nothing goes to the others"
