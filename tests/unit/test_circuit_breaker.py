"""The circuit breaker: one odd answer proves nothing, many with nothing accepted in between stop the run."""

import pytest

from notifier.sending.circuit_breaker import (
    FEW,
    LONGEST_DELAY_S,
    MIN_LASTING_S,
    MIN_REFUSED,
    PROBES_PER_S,
    TRIES,
    CircuitBreaker,
)

MANY = 1_000_000


def refuse(circuit: CircuitBreaker[int], keys: range, now_s: float = 0.0) -> list[float | None]:
    """Each device is refused once. Returns when each is asked again."""
    return [circuit.refuse(key, key, now_s, 0.5) for key in keys]


def exhaust(circuit: CircuitBreaker[int], key: int, now_s: float = 0.0) -> None:
    """One device is refused as often as it is asked."""
    for _ in range(TRIES):
        circuit.refuse(key, key, now_s, 0.5)


def test_one_odd_answer() -> None:
    """That device is asked again, soon; accepted, it is forgotten, and everything flows."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    assert circuit.permits(0.0) == MANY
    (delay_s,) = refuse(circuit, range(1))
    assert delay_s == pytest.approx(0.375)
    circuit.accept(0)
    assert circuit.exceptions() == []
    assert (circuit.is_open, circuit.withheld, circuit.permits(0.0)) == (False, 0, MANY)


def test_while_refusals_are_outstanding_few_requests_go_out() -> None:
    """Ten a second, until another device is accepted."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    refuse(circuit, range(1))
    gone = 0
    for tenth in range(1, 51):
        permits = circuit.permits(tenth / 10)
        circuit.take(permits)
        gone += permits
    assert gone == pytest.approx(5 * PROBES_PER_S, abs=1)
    circuit.accept(7)
    assert circuit.permits(5.0) == MANY


def test_many_and_nothing_accepted_in_between() -> None:
    """Fifty devices, over five seconds: the run has to stop."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    refuse(circuit, range(MIN_REFUSED - 2), now_s=1.0)
    refuse(circuit, range(90, 91), now_s=1.0 + MIN_LASTING_S)
    assert not circuit.is_open
    refuse(circuit, range(91, 92), now_s=1.0 + MIN_LASTING_S)
    assert circuit.is_open


def test_a_burst_is_one_event() -> None:
    """Hundreds that were in flight together are refused within a moment: those who ask after it are accepted."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    refuse(circuit, range(800), now_s=1.0)
    assert not circuit.is_open
    circuit.accept(9_000)
    refuse(circuit, range(10_000, 10_001), now_s=1.0 + MIN_LASTING_S)
    assert not circuit.is_open


def test_the_same_device_counts_once() -> None:
    """A few devices that are refused again and again are not many."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    for second in range(2 * MIN_REFUSED):
        refuse(circuit, range(1), now_s=float(second))
    assert not circuit.is_open


def test_delays_stay_within_a_batchs_patience() -> None:
    """0.5, 1, 2, 2 … seconds with jitter; the sixth refusal is withheld."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    delays = [circuit.refuse(1, 1, 0.0, 0.999) for _ in range(TRIES)]
    assert delays[:-1] == pytest.approx([0.5, 1.0, 2.0, 2.0, 2.0], rel=0.001)
    assert all(delay_s is None or delay_s <= LONGEST_DELAY_S for delay_s in delays)
    assert (delays[-1], circuit.withheld) == (None, 1)


def test_a_device_that_is_refused_alone() -> None:
    """Others are accepted meanwhile: it is an exception, whether or not anything is accepted after its last try."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    for n in range(TRIES):
        assert circuit.exceptions() == []
        circuit.refuse(1, 1, float(n), 0.5)
        circuit.accept(100 + n)
    assert (circuit.exceptions(), circuit.withheld) == ([1], 0)


def test_many_that_are_refused_alone() -> None:
    """Sixty such devices still have their last try to come when the last other one was accepted: no reason to stop."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    for key in range(60):
        circuit.refuse(key, key, 0.0, 0.5)
        for other in range(100):
            circuit.accept(1_000 + other)
    for key in range(60):
        for _ in range(TRIES):
            circuit.refuse(key, key, 9.0, 0.5)
        assert circuit.exceptions() == [key]
        assert not circuit.is_open


def test_an_endpoint_that_refuses_most() -> None:
    """Nineteen of twenty are refused to the last: a rare acceptance does not close the breaker; the run stops."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    for key in range(2 * MIN_REFUSED):
        exhaust(circuit, key)
        if key % 20 == 0:
            circuit.accept(1_000 + key)
        assert len(circuit.exceptions()) <= 1
        if circuit.is_open:
            break
    assert circuit.is_open


def test_it_withholds_no_more_than_it_may() -> None:
    """A small window is not filled."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0, most_withheld=3)
    for key in range(3):
        exhaust(circuit, key)
    assert (circuit.withheld, circuit.is_open) == (3, True)


@pytest.mark.parametrize(("accepted", "refused", "own"), [(1, FEW, True), (1, FEW + 1, False), (0, 1, False)])
def test_the_end_of_a_round(accepted: int, refused: int, own: bool) -> None:
    """The last few are rejected where others were accepted; more of them, or none accepted, may be everybody."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    for key in range(accepted):
        circuit.accept(100 + key)
    for key in range(refused):
        exhaust(circuit, key)
    settled = (list(range(refused)), []) if own else ([], list(range(refused)))
    assert circuit.decide() == settled
    assert circuit.withheld == 0


def test_renewed_credentials_begin_afresh() -> None:
    """What the old ones were refused is asked for again, and counts no longer."""
    circuit: CircuitBreaker[int] = CircuitBreaker(0.0)
    exhaust(circuit, 1)
    refuse(circuit, range(10, 10 + MIN_REFUSED - 2))
    assert circuit.renewed() == [1]
    assert circuit.permits(0.0) == MANY
    assert refuse(circuit, range(1, 2), now_s=9.0) != [None]
    assert not circuit.is_open
