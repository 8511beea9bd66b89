"""Accounts: what is counted once is there once, however the batches are put together."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model.account import Account, ArmAccount
from notifier.model.outcome import Outcome, Row

counted = st.tuples(st.sampled_from("ab"), st.sampled_from(list(Outcome)), st.sampled_from([None, "x", "y"]))


def account_of(outcomes: list[tuple[str, Outcome, str | None]]) -> Account:
    """An account with these devices' outcomes."""
    account = Account(users=len(outcomes), devices=len(outcomes))
    for arm, outcome, reason in outcomes:
        account.arm(arm).assigned += 1
        account.count(arm, outcome, reason)
    return account


def test_each_outcome_at_its_place() -> None:
    """Refusals and failures by reason, a missing one under `unknown`; the others as numbers."""
    account = Account()
    for outcome in Outcome:
        account.count("a", outcome, "why" if outcome is Outcome.REJECTED else None)
    assert account.arms == {"a": ArmAccount(accepted=1, rejected={"why": 1}, failed={"unknown": 1}, held=1)}
    assert account.settled == 4


@given(st.lists(counted), st.lists(counted), st.lists(counted))
def test_adding(
    first: list[tuple[str, Outcome, str | None]],
    second: list[tuple[str, Outcome, str | None]],
    third: list[tuple[str, Outcome, str | None]],
) -> None:
    """In any order and in any parts the sum is that of the whole."""
    whole = account_of(first + second + third)
    left, right = Account(), Account()
    for part in (first, second, third):
        left.add(account_of(part))
    for part in (third, first, second):
        right.add(account_of(part))
    assert left == right == whole
    assert left.settled == left.devices
    assert sum(arm.assigned for arm in left.arms.values()) == left.users


def test_adding_takes_every_figure() -> None:
    """No figure is forgotten, and the other account is left as it was."""
    one = Account(1, 2, 3, 4, 5, 6, 7, {"a": ArmAccount(1, 2, {"r": 3}, {"f": 4}, 5)})
    before = msgspec.json.encode(one)
    total = Account()
    total.add(one)
    total.add(one)
    assert msgspec.json.encode(one) == before
    assert total == Account(2, 4, 6, 8, 10, 12, 14, {"a": ArmAccount(2, 4, {"r": 6}, {"f": 8}, 10)})


def test_excluded_by_adds_up_to_excluded() -> None:
    """By reason; an account of the release before knew of the exclude list alone."""
    account = msgspec.json.decode(b'{"excluded": 3}', type=Account)
    assert account.excluded_by == {"exclude": 3}
    more = Account()
    for reason, users in (("suppressed", 2), ("exclude", 1), ("suppressed", 0)):
        more.exclude(reason, users)
    account.add(more)
    assert (account.excluded, account.excluded_by) == (6, {"exclude": 4, "suppressed": 2})


def test_a_deferred_device_that_is_settled() -> None:
    """It is counted as deferred and taken away again by the round that settles it."""
    total = Account(devices=1, deferred=1)
    settled = Account(deferred=-1)
    settled.count("a", Outcome.ACCEPTED, None)
    total.add(settled)
    assert (total.deferred, total.settled) == (0, total.devices)


def test_from_rows() -> None:
    """The outcomes of rows are those that were counted when they were written."""
    row = Row("r", "c", 0, 0, "u", "a", "ios", "apns", Outcome.REJECTED, "x", 400, "i", None, 1, None, "t")
    account = Account()
    account.count_rows([row, msgspec.structs.replace(row, outcome=Outcome.HELD, reason="control")])
    assert account.arms == {"a": ArmAccount(rejected={"x": 1}, held=1)}
    assert account.outcomes().rejected == {"x": 1}


@pytest.mark.parametrize("kind", [Account, ArmAccount])
def test_no_two_share_figures(kind: type[Account] | type[ArmAccount]) -> None:
    """A new account is empty, whatever became of others."""
    one = kind()
    if isinstance(one, Account):
        one.count("a", Outcome.FAILED, "x")
    else:
        one.failed["x"] = 1
    assert kind() == kind()
    assert kind() != one
