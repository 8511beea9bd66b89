"""Refusals that could be our fault, judged over the lanes of a run."""

from notifier.model.lane_membership import Tally
from notifier.model.outcome import Disposition, Suspicion, Verdict
from notifier.sending.circuit_breaker import MIN_LASTING_S, CircuitBreaker
from notifier.sending.withheld_refusals import WithheldRefusals

PAYLOAD = Verdict(Disposition.REJECT, "INVALID_ARGUMENT", suspicion=Suspicion.PAYLOAD)
TOPIC = Verdict(Disposition.DROP_TOKEN, "DeviceTokenNotForTopic", suspicion=Suspicion.TOPIC)


def lane(accepted: int = 0, payloads: int = 0, topics: int = 0) -> WithheldRefusals[int]:
    """A lane with these answers."""
    made = WithheldRefusals[int]()
    for _ in range(accepted):
        made.accept("apns", "a")
    for n in range(payloads):
        assert made.refuse("apns", "b", PAYLOAD, n)[1] is None
    for n in range(topics):
        assert made.refuse("apns", "a", TOPIC, n)[1] is None
    return made


def over(*lanes: WithheldRefusals[int]) -> Tally:
    """What these lanes have seen together."""
    total = Tally()
    for one in lanes:
        total.add(one.tally())
    return total


def test_a_payload_is_refused_by_fifty_devices_of_all_lanes() -> None:
    """Each lane has too few; together they are enough to stop the run, and one fewer is not."""
    here, other = lane(payloads=20), lane(payloads=29)
    assert here.take_elsewhere(other.tally()) == ([], None)
    clear, reason = here.take_elsewhere(over(lane(payloads=15), lane(payloads=15)))
    assert clear == []
    assert reason is not None
    assert reason.startswith("payload_refused")


def test_an_acceptance_elsewhere_clears_the_message() -> None:
    """One lane that had only refusals of an arm learns that the arm's message is fine: they are the devices' own."""
    here, other = lane(payloads=30), WithheldRefusals[int]()
    other.accept("apns", "b")
    clear, reason = here.take_elsewhere(other.tally())
    assert (sorted(clear), reason, here.count) == (list(range(30)), None, 0)
    assert here.refuse("apns", "b", PAYLOAD, 99) == ([99], None)


def test_a_setting_is_judged_by_the_answers_of_all_lanes() -> None:
    """Half of a hundred answers over all lanes stop the run; few among many are the tokens' own."""
    here = lane(topics=40)
    assert here.take_elsewhere(lane(topics=40, accepted=1).tally()) == ([], None)
    reason = here.take_elsewhere(over(lane(topics=40), lane(accepted=21)))[1]
    assert reason is not None
    assert reason.startswith("wrong_topic")
    clear, reason = lane(topics=40).take_elsewhere(over(lane(topics=1, accepted=500)))
    assert (len(clear), reason) == (40, None)


def test_what_is_published_is_a_copy() -> None:
    """A thread encodes it while the lane goes on."""
    here = lane(accepted=1)
    published = here.tally()
    here.accept("apns", "c")
    assert published == Tally({"apns/a"}, {"apns": 1})


def test_credentials_are_refused_by_fifty_devices_of_all_lanes() -> None:
    """A streak elsewhere counts for a lane that has one too, and for none that has not."""
    breaker = CircuitBreaker[int](0.0)
    breaker.elsewhere = 45
    assert not breaker.is_open
    for n in range(5):
        breaker.refuse(n, n, MIN_LASTING_S * n / 4, 0.5)
    assert breaker.is_open
    breaker.accept(99)
    assert not breaker.is_open
