"""Doubts: one refusal blames the device, many and no success blame us."""

import pytest

from notifier.doubt import MIN_ANSWERS, MIN_REFUSALS, Doubts
from notifier.outcome import Disposition, Suspicion, Verdict

PAYLOAD = Verdict(Disposition.REJECT, "INVALID_ARGUMENT", Suspicion.PAYLOAD)
WRONG_WORLD = Verdict(Disposition.DROP_TOKEN, "BadDeviceToken", Suspicion.ENVIRONMENT)
WRONG_APP = Verdict(Disposition.REJECT, "DeviceTokenNotForTopic", Suspicion.TOPIC)
DEAD = Verdict(Disposition.DROP_TOKEN, "Unregistered")


def refuse(doubts: Doubts[int], verdict: Verdict, times: int, endpoint: str = "apns", arm: str = "a") -> str | None:
    """Refusals one after another; the last one's reason to stop."""
    reason = None
    for n in range(times):
        _, reason = doubts.refuse(endpoint, arm, verdict, n)
    return reason


def test_a_dead_token_is_in_no_doubt() -> None:
    """A refusal that only the device can be blamed for is clear at once."""
    doubts: Doubts[int] = Doubts()
    assert doubts.refuse("fcm", "a", DEAD, 7) == ([7], None)
    assert doubts.held == 0


def test_payload_refused_for_everybody() -> None:
    """The fiftieth refused payload of one gateway and arm, with none accepted, stops the run and blames nobody."""
    doubts: Doubts[int] = Doubts()
    assert refuse(doubts, PAYLOAD, MIN_REFUSALS - 1) is None
    clear, reason = doubts.refuse("apns", "a", PAYLOAD, 99)
    assert (clear, reason) == ([], "payload_refused: INVALID_ARGUMENT by apns for arm a")
    assert doubts.held == MIN_REFUSALS


def test_one_success_clears_the_payload() -> None:
    """Once a device took the payload, those that refused it are to blame, before and after."""
    doubts: Doubts[int] = Doubts()
    refuse(doubts, PAYLOAD, MIN_REFUSALS - 1)
    assert doubts.accept("apns", "a") == list(range(MIN_REFUSALS - 1))
    assert doubts.refuse("apns", "a", PAYLOAD, 7) == ([7], None)
    assert refuse(doubts, PAYLOAD, 10 * MIN_REFUSALS) is None


@pytest.mark.parametrize(("endpoint", "arm"), [("fcm", "a"), ("apns", "b")])
def test_elsewhere_proves_nothing(endpoint: str, arm: str) -> None:
    """Another gateway's or another arm's success says nothing about this payload."""
    doubts: Doubts[int] = Doubts()
    assert doubts.accept(endpoint, arm) == []
    assert refuse(doubts, PAYLOAD, MIN_REFUSALS) is not None


@pytest.mark.parametrize(("verdict", "kind"), [(WRONG_WORLD, "wrong_environment"), (WRONG_APP, "wrong_topic")])
def test_wrong_tokens(verdict: Verdict, kind: str) -> None:
    """Judged at a hundred answers, over all arms: half of them refused is the setting's fault."""
    doubts: Doubts[int] = Doubts()
    for n in range(MIN_ANSWERS // 2):
        assert doubts.accept("apns", "ab"[n % 2]) == []
    assert refuse(doubts, verdict, MIN_ANSWERS // 4, arm="a") is None
    reason = refuse(doubts, verdict, MIN_ANSWERS // 4, arm="b")
    assert reason == f"{kind}: 50 of 100 answers of apns were {verdict.reason}"
    assert doubts.held == MIN_ANSWERS // 2


def test_some_wrong_tokens() -> None:
    """Fewer than half: at a hundred answers they are the devices' own, whatever the hundredth is."""
    doubts: Doubts[int] = Doubts()
    refuse(doubts, WRONG_WORLD, 3)
    for _ in range(MIN_ANSWERS - 4):
        assert doubts.accept("apns", "b") == []
    assert doubts.accept("apns", "b") == [0, 1, 2]
    assert doubts.refuse("apns", "a", WRONG_WORLD, 7) == ([7], None)


def test_dead_tokens_are_answers() -> None:
    """A token that died in this environment belongs to it: it speaks for the environment."""
    doubts: Doubts[int] = Doubts()
    refuse(doubts, DEAD, MIN_ANSWERS)
    assert doubts.refuse("apns", "a", WRONG_WORLD, 7) == ([7], None)


def test_worlds_apart() -> None:
    """Each endpoint is judged by its own answers."""
    doubts: Doubts[int] = Doubts()
    for _ in range(MIN_ANSWERS):
        doubts.accept("apns", "a")
    assert refuse(doubts, WRONG_WORLD, MIN_ANSWERS - 1, endpoint="apns-sandbox") is None
    assert refuse(doubts, WRONG_WORLD, 1, endpoint="apns-sandbox") is not None


def test_nothing_proved() -> None:
    """When nothing more will be learnt, what is held back is the devices' own."""
    doubts: Doubts[int] = Doubts()
    refuse(doubts, PAYLOAD, 2)
    refuse(doubts, WRONG_APP, 3, endpoint="fcm")
    assert doubts.held == 5
    assert sorted(doubts.settle()) == [0, 0, 1, 1, 2]
    assert doubts.held == 0
