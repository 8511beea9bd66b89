"""How a hop ends: handed over, resting, paused, stopped, aborted, cancelled, failed, completed."""

from datetime import UTC, datetime

import pytest

from notifier.lifecycle.lane_worker import PREPARING_MS
from notifier.model.arms import Arms
from notifier.model.outcome import Access, Readiness
from notifier.model.preparation import PreparationState
from notifier.model.run import EXPIRY, HAND_OVER_MS, Control, Ending, LaneState
from notifier.sending.circuit_breaker import TRIES
from notifier.sending.hop_exit import WAIT_MS
from tests.twins.clock import START_S
from tests.twins.gateway import Act, Phones
from tests.twins.hop_factory import World, broken_at, users
from tests.twins.invocation import invoke


def at(seconds: float) -> str:
    """A moment after the beginning, as a campaign states it."""
    return datetime.fromtimestamp(START_S + seconds, UTC).isoformat()


def test_completed() -> None:
    """Every record is read, every device accepted, the summary written, the run closed."""
    world = World(users(1200))
    invoke(world)
    lane = world.lane
    assert (lane.ending, lane.account.users, lane.account.settled) == (Ending.COMPLETED, 1200, 1200)
    assert world.results.summaries["r"].status == "completed"
    closed = world.ledger.read_run("r")
    assert closed is not None
    assert closed.closed_at_ms is not None


def test_control_users_are_held_at_the_rate_of_the_sends() -> None:
    """Half of 1,000 users are in the control group: all take the 10 s that 100 a second need."""
    world = World(users(1000), control_percent=50, per_second=100)
    invoke(world)
    outcomes = world.lane.account.outcomes()
    assert outcomes.accepted + outcomes.held == 1000
    assert 400 < outcomes.held < 600
    assert world.clock.now() - START_S == pytest.approx(10, abs=1)


def test_a_run_that_cannot_be_opened_yet_waits() -> None:
    """S3 is away: the lane is ready again in a minute, with the reason; no nudge is sent; then it begins."""
    world = World(users(10))
    world.unreachable = "s3://twins/batches/f.json: S3 answered 503"
    invoke(world)
    lane = world.lane
    assert (lane.state, lane.reason) == (LaneState.READY, world.unreachable)
    assert (lane.due_at_ms, world.continuation.nudges) == (int(world.clock.now() * 1000) + WAIT_MS, [])
    world.unreachable = None
    invoke(world)
    assert (world.lane.ending, world.lane.reason) == (Ending.COMPLETED, None)


def test_a_run_rests_while_its_audience_is_made() -> None:
    """Unpaid: the audience function is asked once the lane rests. Looking often is no lack of progress."""
    world = World(users(10))
    world.preparing = "preparing: the audience function was asked to make the audience"
    for n in range(10):
        invoke(world)
        lane = world.lane
        assert (lane.state, lane.status, lane.reason) == (LaneState.RESTING, "preparing", world.preparing)
        assert (lane.due_at_ms, world.continuation.nudges) == (int(world.clock.now() * 1000) + PREPARING_MS, [])
        assert world.asked_audiences == ["r"] * (n + 1)
        world.clock.time_s += PREPARING_MS / 1000
    world.preparing = None
    invoke(world)
    assert world.lane.ending is Ending.COMPLETED


def test_cancelled_while_its_audience_is_made() -> None:
    """The run ends, and what is under way gets the order to stop."""
    world = World(users(10))
    world.preparing = "preparing: reading"
    invoke(world)
    world.ledger.ask_for_preparation("r", "{}", "b")
    world.ledger.set_control("r", Control.CANCEL, "ann")
    invoke(world)
    assert (world.lane.ending, world.lane.account.users) == (Ending.CANCELLED, 0)
    assert world.ledger.preparations["r"].state is PreparationState.CANCELLED
    assert world.results.summaries["r"].status == "cancelled"


def test_a_run_waits_for_the_suppression() -> None:
    """However long it cannot be read: nothing is sent, the lane has the reason, and then the run goes on by itself."""
    world = World(users(10))
    world.suppressed = {"u3"}
    world.suppression_unreadable = "suppression_unreadable: s3://twins/suppression/: S3 answered 503"
    for _ in range(10):
        invoke(world)
        lane = world.lane
        assert (lane.state, lane.reason) == (LaneState.RESTING, world.suppression_unreadable)
        assert (lane.due_at_ms, world.continuation.nudges) == (int(world.clock.now() * 1000) + WAIT_MS, [])
        world.clock.time_s += WAIT_MS / 1000
    assert not world.phones.asked
    world.suppression_unreadable = None
    invoke(world)
    assert (world.lane.ending, world.lane.reason) == (Ending.COMPLETED, None)
    assert set(world.phones.asked) == {f"t{n}.0" for n in range(10)} - {"t3.0"}
    assert world.results.summaries["r"].excluded_by == {"suppressed": 1}


def test_who_is_suppressed_while_the_run_rests() -> None:
    """It is read again at each claim: neither the first request nor a repeat goes to them any more."""
    phones = Phones(lambda token, asked: Act.HOUR if token in ("t1.0", "t2.0") and not asked else Act.ACCEPT)
    world = World(users(3), phones=phones)
    invoke(world)
    assert (world.lane.state, world.lane.account.deferred) == (LaneState.RESTING, 2)
    world.suppressed = {"u1"}
    world.clock.time_s = (world.lane.due_at_ms or 0) / 1000
    invoke(world)
    assert world.lane.ending is Ending.COMPLETED
    assert dict(phones.asked) == {"t0.0": 1, "t1.0": 1, "t2.0": 2}
    assert world.lane.account.outcomes().failed == {"suppressed": 1}
    assert (world.lane.account.devices, world.lane.account.settled) == (3, 3)


def test_a_run_that_expires_says_so() -> None:
    """The sweeper cancelled it, and no person: the reason is in the summary."""
    world = World(users(10))
    world.ledger.set_control("r", Control.CANCEL, EXPIRY)
    invoke(world)
    assert world.lane.ending is Ending.CANCELLED
    assert (world.lane.reason or "").startswith("expired: ")


def test_hand_over() -> None:
    """With a minute left no batch is begun; the open ones finish, the lane is ready, the next hop is asked for."""
    world = World(users(5000), per_second=100)
    invoke(world, timeout_s=70)
    lane = world.lane
    assert (lane.state, lane.due_at_ms) == (LaneState.READY, int(world.clock.now() * 1000) + HAND_OVER_MS)
    assert world.continuation.nudges == ["r"]
    assert 0 < lane.account.users < 5000
    assert lane.account.deferred == 0
    for _ in range(10):
        invoke(world, timeout_s=70)
    assert (world.lane.ending, world.lane.account.settled, world.phones.repeats) == (Ending.COMPLETED, 5000, 0)


def test_hand_over_with_a_request_that_is_never_answered() -> None:
    """The hop does not wait beyond its time: the device is deferred, and its next request is counted as a repeat."""
    silent = Phones(lambda token, asked: Act.SILENT if token == "t3.0" and not asked else Act.ACCEPT)
    world = World(users(10), phones=silent, recurse_below_ms=8_000)
    invoke(world, timeout_s=9)
    assert (world.lane.state, world.lane.account.deferred) == (LaneState.READY, 1)
    assert world.clock.now() < START_S + 9
    invoke(world)
    account = world.lane.account
    assert (world.lane.ending, account.settled, account.possibly_repeated) == (Ending.COMPLETED, 10, 1)
    assert world.phones.repeats == 1


def test_not_before() -> None:
    """The run rests until its time; no worker can claim it earlier, the sweeper's nudge finds it ready then."""
    world = World(users(10), not_before=at(3600))
    invoke(world)
    lane = world.lane
    assert (lane.state, lane.due_at_ms) == (LaneState.RESTING, int((START_S + 3600) * 1000))
    assert invoke(world).status == "ignored"
    world.clock.time_s = START_S + 3601
    now_ms = int(world.clock.now() * 1000)
    assert world.ledger.put_off(next(iter(world.ledger.due(now_ms))), now_ms + 120_000)
    invoke(world)
    assert world.lane.ending is Ending.COMPLETED


def test_abort_after() -> None:
    """When its time has passed, the run ends as aborted; what was not asked for is unsent or not read."""
    world = World(users(5000), per_second=100, abort_after=at(20))
    invoke(world)
    account = world.lane.account
    assert world.lane.ending is Ending.ABORTED
    assert account.deferred > 0
    assert account.devices == account.settled + account.deferred
    assert sum(world.phones.asked.values()) == account.settled == pytest.approx(2000, abs=20)


def test_pause_and_resume() -> None:
    """Within 5 s of a pause no request starts; resumed, the run goes on, and asks for no device twice."""
    world = World(users(3000), per_second=100)
    said = START_S + 10
    invoke(world, (10, lambda: world.ledger.set_control("r", Control.PAUSE, "ann")))
    assert world.lane.state is LaneState.PAUSED
    assert said < max(world.phones.began) <= said + 5
    assert invoke(world).status == "ignored"
    world.ledger.set_control("r", Control.GO, "ann")
    invoke(world)
    assert (world.lane.ending, world.lane.account.settled, world.phones.repeats) == (Ending.COMPLETED, 3000, 0)


def test_hold_and_release() -> None:
    """Within 5 s of a hold no request starts, and no claim is made; released, the run goes on, nobody asked twice."""
    world = World(users(3000), per_second=100)
    said = START_S + 10
    invoke(world, (10, lambda: world.ledger.set_hold("ann", "wrong prices")))
    assert world.lane.state is LaneState.RESTING
    assert "ann" in (world.lane.reason or "")
    assert "wrong prices" in (world.lane.reason or "")
    assert said < max(world.phones.began) <= said + 5
    epoch, answer = world.lane.epoch, invoke(world)
    assert (answer.status, world.lane.epoch) == ("ignored", epoch)
    assert "wrong prices" in (answer.reason or "")
    assert world.ledger.release_hold("ann")
    invoke(world)
    assert (world.lane.ending, world.lane.account.settled, world.phones.repeats) == (Ending.COMPLETED, 3000, 0)


def test_a_new_file_waits_while_all_is_held() -> None:
    """It is noted: the lane is there, due, and untouched until the release."""
    world = World(users(10))
    world.ledger.set_hold("ann", "")
    assert invoke(world).status == "ignored"
    assert (world.lane.state, world.lane.epoch, world.phones.asked) == (LaneState.READY, 0, {})
    assert [lane.run_id for lane in world.ledger.due(int(world.clock.now() * 1000) + HAND_OVER_MS)] == ["r"]


def test_cancelled_while_held() -> None:
    """A cancelled run is closed at once: nothing of it is sent, and nobody has to release the stack for it."""
    world = World(users(3000), per_second=100)
    invoke(world, (10, lambda: world.ledger.set_hold("ann", "wrong prices")))
    asked = sum(world.phones.asked.values())
    world.ledger.set_control("r", Control.CANCEL, "ann")
    invoke(world)
    assert (world.lane.ending, sum(world.phones.asked.values())) == (Ending.CANCELLED, asked)


def test_resumed_while_pausing() -> None:
    """An operator who resumes while the worker still drains is heard: the lane is ready and goes on."""
    slow = Phones(lambda token, asked: Act.MUTE if token == "t5.0" and not asked else Act.ACCEPT)
    world = World(users(3000), phones=slow, per_second=100)
    invoke(
        world,
        (1, lambda: world.ledger.set_control("r", Control.PAUSE, "ann")),
        (19, lambda: world.ledger.set_control("r", Control.GO, "ann")),
    )
    assert world.lane.state is LaneState.READY
    assert world.continuation.nudges == ["r"]
    invoke(world)
    assert world.lane.account.settled == 3000


def test_cancel() -> None:
    """Cancelled: within 5 s no request starts, what is unsent is counted, the run is over for good."""
    world = World(users(3000), per_second=100)
    invoke(world, (11, lambda: world.ledger.set_control("r", Control.CANCEL, "ann")))
    account = world.lane.account
    assert world.lane.ending is Ending.CANCELLED
    assert max(world.phones.began) <= START_S + 16
    assert account.devices == account.settled + account.deferred
    assert world.results.summaries["r"].unsent == account.deferred > 0
    assert invoke(world).status == "ignored"


def test_broken_file() -> None:
    """A file that breaks in the middle fails the run with the place; what was sent stays accounted."""
    world = World(users(2000), fault=broken_at(1300))
    invoke(world)
    assert (world.lane.ending, world.lane.reason) == (Ending.FAILED, "not JSON at record 1300")
    assert world.lane.account.users == 1000


def test_unsendable() -> None:
    """A file that is refused at the opening fails the run before anything is sent."""
    world = World(users(10))
    world.refusal = "wrong file"
    invoke(world)
    assert (world.lane.ending, world.lane.reason, world.phones.began) == (Ending.FAILED, "wrong file", [])


def test_payload_refused_for_everybody() -> None:
    """Fifty refusals and no success stop the run: refused devices are unsent, and asked again after the repair."""
    is_repaired = [False]
    phones = Phones(lambda _, __: Act.ACCEPT if is_repaired[0] else Act.WRONG)
    world = World(users(3000), phones=phones, per_second=200)
    invoke(world)
    lane = world.lane
    assert lane.state is LaneState.STOPPED
    assert lane.reason is not None
    assert lane.reason.startswith("payload_refused")
    assert not lane.account.outcomes().rejected
    is_repaired[0] = True
    world.ledger.set_control("r", Control.GO, "ann")
    invoke(world)
    outcomes = world.lane.account.outcomes()
    assert (world.lane.ending, world.lane.reason, outcomes.accepted) == (Ending.COMPLETED, None, 3000)


def test_a_few_wrong_payloads_are_the_devices_own() -> None:
    """Forty refusals and nothing accepted prove nothing: at the end they are rejected."""
    world = World(users(40), phones=Phones(lambda _, __: Act.WRONG))
    invoke(world)
    assert (world.lane.ending, world.lane.account.outcomes().rejected) == (Ending.COMPLETED, {"BadCollapseId": 40})


def foreign(world: World) -> int:
    """How many tokens were written down as dead."""
    return sum(map(len, world.results.dead_tokens.values()))


def test_all_tokens_of_another_project() -> None:
    """A wrong secret stops the run: no token is called dead, and after the repair every device is accepted."""
    is_repaired = [False]
    phones = Phones(lambda _, __: Act.ACCEPT if is_repaired[0] else Act.FOREIGN)
    world = World(users(3000), phones=phones, per_second=200)
    invoke(world)
    account = world.lane.account
    assert world.lane.state is LaneState.STOPPED
    assert (world.lane.reason or "").startswith("wrong_sender: ")
    assert (account.settled, foreign(world)) == (0, 0)
    assert account.deferred == account.devices > 0
    is_repaired[0] = True
    world.ledger.set_control("r", Control.GO, "ann")
    invoke(world)
    outcomes = world.lane.account.outcomes()
    assert (world.lane.ending, world.lane.reason, outcomes.accepted) == (Ending.COMPLETED, None, 3000)
    assert foreign(world) == 0


def test_a_few_foreign_tokens_are_dropped() -> None:
    """One in a hundred of a good file: they are written down as dead, the rest is accepted."""
    world = World(users(3000), phones=Phones(lambda t, _: Act.FOREIGN if t.endswith("00.0") else Act.ACCEPT))
    invoke(world)
    outcomes = world.lane.account.outcomes()
    assert (world.lane.ending, outcomes.accepted) == (Ending.COMPLETED, 2971)
    assert outcomes.rejected == {"SENDER_ID_MISMATCH": 29}
    assert foreign(world) == 29


def test_a_small_file_of_foreign_tokens() -> None:
    """Too few to stop for: all are rejected, as they were, and none is called dead: it may be the secret."""
    world = World(users(40), phones=Phones(lambda _, __: Act.FOREIGN))
    invoke(world)
    assert world.lane.account.outcomes().rejected == {"SENDER_ID_MISMATCH": 40}
    assert (world.lane.ending, foreign(world)) == (Ending.COMPLETED, 0)


@pytest.mark.parametrize("act", [Act.FOREIGN, Act.WRONG])
def test_paused_with_withheld_refusals(act: Act) -> None:
    """Withheld refusals are unsent, not rejected: resumed after the repair, all are accepted."""
    is_repaired = [False]
    world = World(users(3000), phones=Phones(lambda _, __: Act.ACCEPT if is_repaired[0] else act), per_second=6)
    invoke(world, (2, lambda: world.ledger.set_control("r", Control.PAUSE, "ann")))
    assert world.lane.state is LaneState.PAUSED
    assert world.phones.asked
    assert (world.lane.account.settled, foreign(world)) == (0, 0)
    is_repaired[0] = True
    world.ledger.set_control("r", Control.GO, "ann")
    invoke(world)
    assert world.lane.account.outcomes().accepted == 3000


def test_renewed_into_another_project() -> None:
    """A secret replaced by another project's in the middle of a hop is noticed, whatever went well before."""
    replaced = [False]

    def replace() -> None:
        replaced[0], world.phones.good_generation = True, 1

    world = World(users(3000), phones=Phones(lambda _, __: Act.FOREIGN if replaced[0] else Act.ACCEPT), per_second=200)
    invoke(world, (8, replace))
    assert (world.lane.reason or "").startswith("wrong_sender: ")
    assert world.lane.account.outcomes().accepted > 1_000
    assert (world.lane.account.outcomes().rejected, foreign(world)) == ({}, 0)


def test_refused_credentials() -> None:
    """Refused, renewed once, refused again: the run stops; resumed after the repair in a warm process it goes on."""
    world = World(users(500))
    world.phones.good_generation = 10
    world.phones.secret_is_good = False
    invoke(world)
    assert world.lane.state is LaneState.STOPPED
    assert (world.lane.reason or "").startswith("credentials_refused")
    world.generation, world.phones.secret_is_good = 1, True
    world.ledger.set_control("r", Control.GO, "ann")
    invoke(world)
    assert (world.lane.ending, world.lane.account.settled) == (Ending.COMPLETED, 500)


def test_credentials_that_cannot_be_fetched_are_a_rest() -> None:
    """No device can be asked for: what was sent is deferred, the lane rests unpaid and says why; later it goes on."""
    world = World(users(3000))
    until_s = world.clock.now() + 60
    world.barred["fcm"] = Access(Readiness.UNAVAILABLE, "Google's token endpoint answers 503", until_s)
    invoke(world)
    lane = world.lane
    assert (lane.state, lane.due_at_ms) == (LaneState.RESTING, int(until_s * 1000))
    assert (lane.reason, lane.idle_claims) == ("Google's token endpoint answers 503", 0)
    assert world.clock.now() < START_S + 5
    del world.barred["fcm"]
    world.clock.time_s = until_s + 1
    assert world.ledger.put_off(next(iter(world.ledger.due(int((until_s + 1) * 1000)))), 0)
    invoke(world)
    assert (world.lane.ending, world.lane.account.settled, world.phones.repeats) == (Ending.COMPLETED, 3000, 0)


def test_one_gateway_without_credentials_keeps_no_other_waiting() -> None:
    """Every second user has an iPhone: they are all asked, the others put off until Google gives tokens again."""
    mixed = [one for n in range(3000) for one in users(1, first=n, platform="ios" if n % 2 else "android")]
    world = World(mixed, window=200)
    until_s = world.clock.now() + 3_600
    world.barred["fcm"] = Access(Readiness.UNAVAILABLE, "503", until_s)
    invoke(world)
    assert (world.lane.state, world.lane.account.outcomes().accepted) == (LaneState.RESTING, 1500)
    assert world.lane.due_at_ms is not None
    assert world.lane.due_at_ms / 1000 >= until_s
    del world.barred["fcm"]
    world.clock.time_s = world.lane.due_at_ms / 1000 + 1
    assert world.ledger.put_off(next(iter(world.ledger.due(int(world.clock.now() * 1000)))), 0)
    invoke(world)
    assert (world.lane.ending, world.lane.account.settled, world.phones.repeats) == (Ending.COMPLETED, 3000, 0)


def test_credentials_under_way_are_waited_for() -> None:
    """Ten seconds at a cold start: nothing is deferred, nothing asked, and the lease is kept."""
    world = World(users(1000))
    world.barred["fcm"] = Access(Readiness.WAITING)
    invoke(world, (10, world.barred.clear))
    assert (world.lane.ending, world.lane.account.settled, world.lane.hop) == (Ending.COMPLETED, 1000, 1)
    assert min(world.phones.began) >= START_S + 10


def test_refused_secret() -> None:
    """A secret that is no good stops the run with its reason."""
    world = World(users(1000))
    world.barred["fcm"] = Access(Readiness.REFUSED, "fcm secret notifier/fcm: private_key is a certificate")
    invoke(world)
    assert world.lane.state is LaneState.STOPPED
    assert world.lane.reason == "credentials_refused: fcm secret notifier/fcm: private_key is a certificate"
    assert (world.lane.account.outcomes().failed, world.phones.began) == ({}, [])


@pytest.mark.parametrize("act", [Act.HALT, Act.STALE])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_one_odd_answer(act: Act, times: int) -> None:
    """One device is refused for what would be everybody's trouble: it is asked again, and the run goes on."""
    phones = Phones(lambda token, asked: act if token == "t700.0" and asked < times else Act.ACCEPT)
    world = World(users(3000), phones=phones, per_second=200)
    invoke(world)
    assert (world.lane.ending, world.lane.account.outcomes().accepted) == (Ending.COMPLETED, 3000)
    assert (world.phones.asked["t700.0"], world.phones.repeats, world.lane.account.possibly_repeated) == (
        times + 1, 0, 0,
    )  # fmt: skip


@pytest.mark.parametrize("act", [Act.HALT, Act.STALE])
def test_one_record_is_poison_to_the_gateway(act: Act) -> None:
    """A device that is refused so each time, while others are accepted, is rejected; its token is not called dead."""
    phones = Phones(lambda token, _: act if token == "t700.0" else Act.ACCEPT)
    world = World(users(3000), phones=phones, per_second=200)
    invoke(world)
    outcomes = world.lane.account.outcomes()
    assert (world.lane.ending, outcomes.accepted, sum(outcomes.rejected.values())) == (Ending.COMPLETED, 2999, 1)
    assert foreign(world) == 0
    assert world.phones.asked["t700.0"] <= TRIES + 1


@pytest.mark.parametrize("last", [2998, 2999])
def test_poison_at_the_very_end(last: int) -> None:
    """No device is left to be accepted after it: with others accepted before, it is rejected all the same."""
    phones = Phones(lambda token, _: Act.HALT if token == f"t{last}.0" else Act.ACCEPT)
    world = World(users(3000), phones=phones)
    invoke(world)
    assert (world.lane.ending, world.lane.account.outcomes().rejected) == (Ending.COMPLETED, {"BadTopic": 1})


def test_a_poisoned_record_in_a_thousand() -> None:
    """They are judged while others are accepted: no round is left with nothing but them."""
    phones = Phones(lambda token, _: Act.HALT if token.endswith("500.0") else Act.ACCEPT)
    world = World(users(20_000), phones=phones, window=1_000)
    invoke(world)
    outcomes = world.lane.account.outcomes()
    assert (world.lane.ending, outcomes.accepted, outcomes.rejected) == (Ending.COMPLETED, 19_980, {"BadTopic": 20})


@pytest.mark.parametrize("act", [Act.HALT, Act.STALE])
def test_everybody_is_refused(act: Act) -> None:
    """From the beginning: the run stops after some hundred requests, rejects none, and goes on after the repair."""
    is_repaired = [False]
    world = World(users(30_000), phones=Phones(lambda _, __: Act.ACCEPT if is_repaired[0] else act), window=1_000)
    invoke(world)
    lane = world.lane
    assert (lane.state, lane.account.settled) == (LaneState.STOPPED, 0)
    assert (lane.reason or "").startswith("BadTopic: fcm refuses" if act is Act.HALT else "credentials_refused: ")
    assert sum(world.phones.asked.values()) < 400
    is_repaired[0] = True
    world.ledger.set_control("r", Control.GO, "ann")
    invoke(world)
    assert (world.lane.ending, world.lane.account.outcomes().accepted) == (Ending.COMPLETED, 30_000)


@pytest.mark.parametrize("per_second", [pytest.param(20, marks=pytest.mark.slow), 2_000])
def test_everybody_is_refused_in_the_middle(per_second: int) -> None:
    """A right is withdrawn after 1,000 acceptances: the run stops, no device is rejected for it, at any pace."""
    is_repaired = [False]
    phones = Phones()
    phones.act_of = lambda *_: Act.HALT if len(phones.asked) > 1_000 and not is_repaired[0] else Act.ACCEPT
    world = World(users(30_000), phones=phones, window=1_000, per_second=per_second)
    invoke(world)
    outcomes = world.lane.account.outcomes()
    assert (world.lane.state, outcomes.rejected, outcomes.failed) == (LaneState.STOPPED, {}, {})
    assert len(phones.asked) < 1_400
    is_repaired[0] = True
    world.ledger.set_control("r", Control.GO, "ann")
    for _ in range(3):
        invoke(world)
    outcomes = world.lane.account.outcomes()
    assert (outcomes.rejected, outcomes.failed, world.phones.repeats) == ({}, {}, 0)


@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("act", [Act.HALT, Act.STALE])
def test_a_small_file_is_refused(count: int, act: Act) -> None:
    """Too few to be many, and none accepted: the run stops after some tries, so that it can go on after the repair."""
    is_repaired = [False]
    world = World(users(count), phones=Phones(lambda _, __: Act.ACCEPT if is_repaired[0] else act))
    invoke(world)
    assert world.lane.state is LaneState.STOPPED
    assert world.lane.account.settled == 0
    assert world.clock.now() - START_S < 60
    is_repaired[0] = True
    world.ledger.set_control("r", Control.GO, "ann")
    invoke(world)
    assert (world.lane.ending, world.lane.account.outcomes().accepted) == (Ending.COMPLETED, count)


def test_a_front_end_that_fails_for_a_moment() -> None:
    """Two seconds of odd answers to everybody: nothing but a few requests goes out meanwhile, then all are accepted."""
    phones = Phones()
    world = World(users(30_000), phones=phones, window=1_000, per_second=2_000)
    phones.act_of = lambda *_: Act.HALT if 3 <= world.clock.now() - START_S < 5 else Act.ACCEPT
    invoke(world)
    outcomes = world.lane.account.outcomes()
    assert (world.lane.ending, outcomes.accepted, world.phones.repeats) == (Ending.COMPLETED, 30_000, 0)
    assert sum(asked > 1 for asked in phones.asked.values()) < 400


@pytest.mark.parametrize("window", [30, 100, 1_000])
@pytest.mark.parametrize("act", [Act.WRONG, Act.FOREIGN, Act.HALT])
def test_what_is_withheld_never_fills_the_window(window: int, act: Act) -> None:
    """Forty arms, everybody refused, few pushes at a time: the run stops instead of waiting for ever."""
    variants = [{"name": f"v{n}", "percent": 2.5} for n in range(40)]
    world = World(users(3_000), phones=Phones(lambda *_: act), window=window, variants=variants)
    invoke(world)
    lane = world.lane
    assert (lane.state, lane.account.settled, foreign(world)) == (LaneState.STOPPED, 0, 0)
    assert lane.hop <= 2
    assert world.clock.now() - START_S < 60


@pytest.mark.parametrize("window", [8, 100])
def test_bad_arms_among_good_ones_come_to_an_end_in_a_small_window(window: int) -> None:
    """Four arms of ten are refused, each too rarely to stop the run: their devices are rejected in the end."""
    variants = [{"name": f"v{n}", "percent": 10} for n in range(10)]
    world = World(users(300), window=window, variants=variants)
    arms = world.campaign.arms
    bad = {
        f"t{n}.0" for n in range(300) if Arms(world.campaign.salt, arms).index_of(f"u{n}".encode()) < 4
    }  # fmt: skip
    world.phones.act_of = lambda token, _: Act.WRONG if token in bad else Act.ACCEPT
    invoke(world)
    outcomes = world.lane.account.outcomes()
    assert (world.lane.ending, outcomes.accepted) == (Ending.COMPLETED, 300 - len(bad))
    assert outcomes.rejected == {"BadCollapseId": len(bad)}


@pytest.mark.parametrize(
    ("act", "least_s", "most_s"), [(Act.LOST, 60, 75), (Act.REFUSED, 60, 75), (Act.BUSY, 100, 500)]
)
def test_whom_a_connection_takes_with_it_is_chance(act: Act, least_s: float, most_s: float) -> None:
    """A device lost with five connections is asked again soon; one that is refused five times alone waits for long."""
    phones = Phones(lambda token, asked: act if token == "t7.0" and asked < 5 else Act.ACCEPT)
    world = World(users(600), phones=phones, per_second=10)
    invoke(world)
    while world.lane.state is LaneState.RESTING:
        world.clock.sleep(max((world.lane.due_at_ms or 0) / 1000 - world.clock.now(), 0.0))
        invoke(world)
    assert world.lane.state is LaneState.DONE
    assert least_s < world.clock.now() - START_S < most_s


def test_devices_that_are_put_off() -> None:
    """One browser in ten without a key for web push: everybody else is sent to, then the run stops for these."""
    is_repaired = [False]
    phones = Phones(lambda token, _: Act.OFF if token.endswith("0.0") and not is_repaired[0] else Act.ACCEPT)
    world = World(users(3000), phones=phones)
    invoke(world)
    account = world.lane.account
    assert world.lane.state is LaneState.STOPPED
    assert (world.lane.reason or "").startswith("THIRD_PARTY_AUTH_ERROR: ")
    assert (account.outcomes().accepted, account.deferred) == (2700, 300)
    is_repaired[0] = True
    world.ledger.set_control("r", Control.GO, "ann")
    invoke(world)
    assert (world.lane.ending, world.lane.account.outcomes().accepted) == (Ending.COMPLETED, 3000)


@pytest.mark.parametrize("first", [Act.BROKEN, Act.LATER, Act.ACCEPT])
def test_one_odd_answer_puts_off_one_device(first: Act) -> None:
    """Whether it is asked for the first time or was deferred for another reason: one such answer stops no run."""
    script = [Act.OFF] if first is Act.ACCEPT else [first, Act.OFF]
    phones = Phones(lambda t, n: script[n] if t == "t7.0" and n < len(script) else Act.ACCEPT)
    world = World(users(300), phones=phones)
    for _ in range(3):
        invoke(world)
        world.clock.time_s = max(world.clock.time_s, START_S + 400)
    assert (world.lane.ending, world.lane.account.outcomes().accepted) == (Ending.COMPLETED, 300)


def test_everybody_is_put_off() -> None:
    """A project without a key, an audience of nothing else: a hundred answers are enough to stop."""
    is_repaired = [False]
    world = World(users(3000), phones=Phones(lambda _, __: Act.ACCEPT if is_repaired[0] else Act.OFF), per_second=200)
    invoke(world)
    assert world.lane.state is LaneState.STOPPED
    assert len(world.phones.asked) < 1_000
    is_repaired[0] = True
    world.ledger.set_control("r", Control.GO, "ann")
    invoke(world)
    assert (world.lane.ending, world.lane.account.outcomes().accepted) == (Ending.COMPLETED, 3000)
