"""Credentials in the background: nothing of it ever keeps the sending loop waiting."""

import logging
from collections.abc import Callable

import pytest

from notifier.gateway.credentials import LONGEST_REST_S, PATIENCE_S, REST_S, Grant, RefreshableCredentials
from notifier.gateway.secrets import BadSecret, CredentialsRefused, CredentialsUnavailable, Secret
from notifier.model.outcome import Access, Readiness
from tests.twins.background import TwinBackground
from tests.twins.clock import TwinClock

LIFE_S, RENEW_BEFORE_S, KEEP_S = 3_600.0, 300.0, 1_200.0
READY = Access(Readiness.READY)
AWAY = CredentialsUnavailable("the token endpoint answers 503")


class Bench:
    """A secret, what it gives, and what goes wrong with either."""

    def __init__(self) -> None:
        self.clock = TwinClock()
        self.background = TwinBackground()
        self.value = "one"
        self.read_trouble: Exception | None = None
        self.grant_trouble: dict[str, Exception] = {}
        self.reads = self.grants = 0
        self.keys: RefreshableCredentials[BenchCredentials] = RefreshableCredentials(
            self.read, lambda secret: BenchCredentials(self, secret), self.background, self.clock.now
        )

    def read(self) -> Secret:
        """The secret."""
        self.reads += 1
        if self.read_trouble is not None:
            raise self.read_trouble
        return Secret("fcm", {"value": self.value}, "notifier/fcm")

    def access(self, after_s: float = 0.0, *, answered: bool = True) -> Access:
        """What is said after some time; `answered`: the background has come to an end by then."""
        self.clock.time_s += after_s
        found = self.keys.access(self.clock.now())
        if answered and self.background.pending:
            self.background.run_all()
            found = self.keys.access(self.clock.now())
        return found

    @property
    def header(self) -> str:
        """What a request would carry."""
        return self.keys.header(self.clock.now())


class BenchCredentials:
    """Numbered headers of one secret's value."""

    ADVICE = "look at it"

    def __init__(self, bench: Bench, secret: Secret) -> None:
        self._bench = bench
        self.value = secret.text("value")

    def grant(self, now_s: float) -> Grant:
        """The next one."""
        bench = self._bench
        if self.value in bench.grant_trouble:
            raise bench.grant_trouble[self.value]
        bench.grants += 1
        renew_at_s, end_s = now_s + LIFE_S - RENEW_BEFORE_S, now_s + LIFE_S
        return Grant(f"{self.value} {bench.grants}", now_s, renew_at_s, end_s, now_s + KEEP_S)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_is_waited_for(bench: Bench) -> None:
    """Callers get WAITING meanwhile; the fetch is one task, however often it is asked for."""
    assert bench.access(answered=False).readiness is Readiness.WAITING
    assert bench.access(1.0, answered=False).readiness is Readiness.WAITING
    assert (len(bench.background.pending), bench.reads) == (1, 0)
    assert (bench.access(), bench.header, bench.keys.current.value) == (READY, "one 1", "one")


def test_a_line_that_is_nearly_over_serves_while_it_is_renewed(bench: Bench) -> None:
    """No caller waits, and the secret is not read for it."""
    bench.access()
    assert bench.access(LIFE_S - RENEW_BEFORE_S - 1) == READY
    assert not bench.background.pending
    assert bench.access(1.0, answered=False) == READY
    assert (bench.header, len(bench.background.pending)) == ("one 1", 1)
    assert (bench.access(), bench.header, bench.reads, bench.keys.generation) == (READY, "one 2", 1, 0)


def test_a_renewal_that_fails_is_tried_again_while_the_old_line_is_good(bench: Bench) -> None:
    """An outage of less than five minutes is not even noticed."""
    bench.access()
    bench.grant_trouble["one"] = AWAY
    assert bench.access(LIFE_S - RENEW_BEFORE_S) == READY
    assert bench.access(RENEW_BEFORE_S - 1) == READY
    bench.grant_trouble.clear()
    assert (bench.access(40.0), bench.header) == (READY, "one 2")


def test_a_hiccup_at_a_cold_start_is_waited_for(bench: Bench) -> None:
    """After a second, two, four, and so on."""
    bench.grant_trouble["one"] = AWAY
    assert bench.access() == Access(Readiness.WAITING, "the token endpoint answers 503")
    bench.access(0.9)
    assert bench.reads == 1
    bench.access(0.2)
    bench.access(1.9)
    assert bench.reads == 2
    bench.grant_trouble.clear()
    assert bench.access(0.2) == READY


def test_the_endpoints_own_wish_is_granted(bench: Bench) -> None:
    """Retry-After."""
    bench.grant_trouble["one"] = CredentialsUnavailable("429", retry_after_s=20)
    bench.access()
    bench.access(19)
    assert bench.reads == 1
    bench.access(1.1)
    assert bench.reads == 2


def test_an_outage_is_a_rest(bench: Bench) -> None:
    """After half a minute; for as long as it has lasted, within a minute and ten. Attempts go on."""
    bench.read_trouble = AWAY
    began_s = bench.clock.now()
    while (found := bench.access(1.0)).readiness is Readiness.WAITING:
        pass
    now_s = bench.clock.now()
    assert PATIENCE_S <= now_s - began_s <= PATIENCE_S + 2
    assert found == Access(Readiness.UNAVAILABLE, str(AWAY), now_s + REST_S)
    attempts = bench.reads
    found = bench.access(3_600.0)
    assert (found.until_s, bench.reads) == (bench.clock.now() + LONGEST_REST_S, attempts + 1)
    bench.read_trouble = None
    assert bench.access(60.0) == READY


def test_the_hop_after_a_rest_makes_one_attempt_before_it_rests_again(bench: Bench) -> None:
    """A known outage is not waited for at full length again; what hangs is waited for to its end."""
    bench.read_trouble = AWAY
    while bench.access(1.0).readiness is Readiness.WAITING:
        pass
    bench.keys.look_again()
    assert bench.access(60.0, answered=False).readiness is Readiness.WAITING
    assert bench.access(20.0).readiness is Readiness.UNAVAILABLE
    bench.keys.look_again()
    bench.read_trouble = None
    assert bench.access(60.0) == READY


@pytest.mark.parametrize("error", [BadSecret("fcm secret: key is missing"), CredentialsRefused("no", "make it")])
def test_a_refusal_is_final_until_a_hop_looks_again(bench: Bench, error: Exception) -> None:
    """It is reported in its own words; a process that outlives the stopped run meets the corrected secret."""
    bench.grant_trouble["one"] = error
    assert bench.access() == Access(Readiness.REFUSED, str(error))
    assert bench.access(3_600.0) == Access(Readiness.REFUSED, str(error))
    assert bench.reads == 1
    bench.grant_trouble.clear()
    bench.keys.look_again()
    assert (bench.access(), bench.header) == (READY, "one 1")


def test_what_nobody_foresaw_stops_and_shows_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """An error's own words may quote a key: its kind is in the log, for developers, and nowhere else."""
    bench.grant_trouble["one"] = ZeroDivisionError("s3cret")
    with caplog.at_level(logging.ERROR):
        found = bench.access()
    assert found.readiness is Readiness.REFUSED
    assert "ZeroDivisionError" in caplog.text
    assert "s3cret" not in found.reason + caplog.text
    assert "ZeroDivisionError" not in found.reason


def test_a_key_that_was_replaced_before_its_withdrawal_goes_on(bench: Bench) -> None:
    """Google refuses the old key at a renewal: the new one is in the secret already, and the run does not stop."""
    bench.access()
    bench.value, bench.grant_trouble["one"] = "two", CredentialsRefused("withdrawn", "make one")
    assert (bench.access(LIFE_S - RENEW_BEFORE_S), bench.header) == (READY, "two 2")
    assert bench.keys.generation == 1


def test_a_withdrawn_key_stops(bench: Bench) -> None:
    """The secret was read again, and is the same."""
    bench.access()
    bench.grant_trouble["one"] = CredentialsRefused("withdrawn", "make one")
    assert bench.access(LIFE_S - RENEW_BEFORE_S) == Access(Readiness.REFUSED, "withdrawn; make one")
    assert bench.keys.advice == "fcm secret notifier/fcm: look at it"
    assert bench.reads == 2


def test_what_the_gateway_refuses_is_not_used_again(bench: Bench) -> None:
    """The secret is read again. The same one within 20 minutes gives the same line, later a new one."""
    bench.access()
    bench.keys.renew()
    assert bench.access(KEEP_S - 1, answered=False).readiness is Readiness.WAITING
    assert (bench.access(), bench.header, bench.keys.generation, bench.reads) == (READY, "one 1", 1, 2)
    bench.keys.renew()
    assert (bench.access(2.0), bench.header, bench.keys.generation) == (READY, "one 2", 2)
    bench.value = "two"
    bench.keys.renew()
    assert (bench.access(), bench.header, bench.keys.generation) == (READY, "two 3", 3)


def test_a_renewal_asked_for_while_another_is_under_way_is_made_after_it(bench: Bench) -> None:
    """What was begun before the gateway's refusal does not answer it."""
    bench.access()
    assert bench.access(LIFE_S - RENEW_BEFORE_S, answered=False) == READY
    bench.keys.renew()
    bench.background.run_all()
    assert bench.access(answered=False).readiness is Readiness.WAITING
    assert (bench.access(), bench.reads, bench.keys.generation) == (READY, 2, 1)


def test_a_refused_line_is_renewed_through_a_hiccup(bench: Bench) -> None:
    """The gateway's refusal holds until there is an answer; then the generation counts it."""
    bench.access()
    bench.keys.renew()
    bench.read_trouble = AWAY
    assert bench.access().readiness is Readiness.WAITING
    bench.read_trouble = None
    assert (bench.access(2.0), bench.keys.generation) == (READY, 1)


@pytest.mark.parametrize(("value", "header", "generation"), [("one", "one 1", 0), ("two", "two 2", 1)])
def test_each_hop_looks_at_the_secret(bench: Bench, value: str, header: str, generation: int) -> None:
    """The same values: the line, and Apple's token, are kept. Others are used from now on."""
    bench.access()
    bench.value = value
    bench.keys.look_again()
    assert bench.access(answered=False).readiness is Readiness.WAITING
    assert (bench.access(), bench.header, bench.keys.generation) == (READY, header, generation)
    assert bench.reads == 2


def test_an_answer_to_an_earlier_hop_is_none_to_this_one(bench: Bench) -> None:
    """The hop before was cancelled while it looked: what it found then says nothing of a secret replaced since."""
    bench.access()
    bench.keys.look_again()
    bench.access(answered=False)
    bench.background.run_all()
    bench.value = "two"
    bench.keys.look_again()
    assert bench.access(answered=False).readiness is Readiness.WAITING
    assert (bench.access(), bench.header) == (READY, "two 2")


def test_a_refusal_to_an_earlier_hop_is_none_to_this_one(bench: Bench) -> None:
    """The run stopped before it was taken in; resumed, it meets the corrected secret."""
    bench.read_trouble = BadSecret("fcm secret: key is missing")
    bench.access(answered=False)
    bench.background.run_all()
    bench.read_trouble = None
    bench.keys.look_again()
    assert bench.access(answered=False).readiness is Readiness.WAITING
    assert (bench.access(), bench.header) == (READY, "one 1")


def test_without_an_answer_the_known_secret_stays(bench: Bench) -> None:
    """Secrets Manager's trouble at the beginning of a hop costs nothing while the line is good."""
    bench.access()
    bench.keys.look_again()
    bench.read_trouble = AWAY
    assert (bench.access(), bench.header) == (READY, "one 1")


@pytest.mark.parametrize("spoil", [BadSecret("fcm secret: not JSON"), BadSecret("fcm secret: AccessDenied: …")])
def test_a_secret_that_was_spoiled_is_told_at_the_next_hop(bench: Bench, spoil: Exception) -> None:
    """Rather than at the next renewal, in the middle of a run."""
    bench.access()
    bench.keys.look_again()
    bench.read_trouble = spoil
    assert bench.access() == Access(Readiness.REFUSED, str(spoil))


def test_a_clock_that_was_put_back_makes_a_new_line(bench: Bench) -> None:
    """A token from the future is refused by Apple; a small correction of the clock changes nothing."""
    bench.access()
    assert (bench.access(-3.0), bench.header) == (READY, "one 1")
    assert (bench.access(-3_600.0), bench.header) == (READY, "one 2")


@pytest.mark.parametrize("show", [repr, str])
def test_nothing_of_a_line_is_shown(show: Callable[[object], str]) -> None:
    """A grant's repr has its end only."""
    assert show(Grant("s3cret", 0.0, 1.0, 2.0)) == "Grant(…, good_until_s=2.0)"


def test_whoever_asks_too_early_is_told(bench: Bench) -> None:
    """A header before READY is a fault of ours."""
    with pytest.raises(RuntimeError, match="no credentials yet"):
        bench.keys.header(0.0)
