"""Doubts: one refusal blames the device, many and no success blame us."""

import pytest

from notifier.model.outcome import Disposition, Suspicion, Verdict
from notifier.sending.withheld_refusals import MIN_ANSWERS, MIN_REFUSALS, STOPS, WithheldRefusals

PAYLOAD = Verdict(Disposition.REJECT, "INVALID_ARGUMENT", Suspicion.PAYLOAD)
WRONG_WORLD = Verdict(Disposition.DROP_TOKEN, "BadDeviceToken", Suspicion.ENVIRONMENT)
WRONG_APP = Verdict(Disposition.DROP_TOKEN, "DeviceTokenNotForTopic", Suspicion.TOPIC)
WRONG_PROJECT = Verdict(Disposition.DROP_TOKEN, "SENDER_ID_MISMATCH", Suspicion.SENDER)
NO_TOKEN = Verdict(Disposition.DROP_TOKEN, "INVALID_ARGUMENT token", Suspicion.TOKENS)
DEAD = Verdict(Disposition.DROP_TOKEN, "Unregistered")


def refuse(
    withheld: WithheldRefusals[int], verdict: Verdict, times: int, endpoint: str = "apns", arm: str = "a"
) -> str | None:
    """Refusals one after another; the last one's reason to stop."""
    reason = None
    for n in range(times):
        _, reason = withheld.refuse(endpoint, arm, verdict, n)
    return reason


def test_a_dead_token_is_in_no_doubt() -> None:
    """A refusal that only the device can be blamed for is clear at once."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    assert withheld.refuse("fcm", "a", DEAD, 7) == ([7], None)
    assert withheld.count == 0


def test_payload_refused_for_everybody() -> None:
    """The fiftieth refused payload of one gateway and arm, with none accepted, stops the run and rejects no device."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    assert refuse(withheld, PAYLOAD, MIN_REFUSALS - 1) is None
    clear, reason = withheld.refuse("apns", "a", PAYLOAD, 99)
    assert (clear, reason) == ([], "payload_refused: INVALID_ARGUMENT by apns for arm a")
    assert withheld.count == MIN_REFUSALS


def test_one_success_clears_the_payload() -> None:
    """Once a device took the payload, those that refused it are to blame, before and after."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    refuse(withheld, PAYLOAD, MIN_REFUSALS - 1)
    assert withheld.accept("apns", "a") == list(range(MIN_REFUSALS - 1))
    assert withheld.refuse("apns", "a", PAYLOAD, 7) == ([7], None)
    assert refuse(withheld, PAYLOAD, 10 * MIN_REFUSALS) is None


@pytest.mark.parametrize(("endpoint", "arm"), [("fcm", "a"), ("apns", "b")])
def test_elsewhere_proves_nothing(endpoint: str, arm: str) -> None:
    """Another gateway's or another arm's success says nothing about this payload."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    assert withheld.accept(endpoint, arm) == []
    assert refuse(withheld, PAYLOAD, MIN_REFUSALS) is not None


@pytest.mark.parametrize("count", [2, 16, 40, 10_000])
def test_payload_refused_in_many_arms(count: int) -> None:
    """No arm has fifty refusals, all arms together have: with none accepted in any of them, it is the payload."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    for n in range(MIN_REFUSALS - 1):
        assert withheld.refuse("fcm", f"arm-{n % count}", PAYLOAD, n) == ([], None)
    _, reason = withheld.refuse("fcm", f"arm-{(MIN_REFUSALS - 1) % count}", PAYLOAD, 99)
    arms = min(count, MIN_REFUSALS)
    assert reason == f"payload_refused: INVALID_ARGUMENT by fcm for {arms} arms, 50 devices and none accepted"


def test_payload_refused_in_all_arms_but_one() -> None:
    """One arm of twenty is accepted: the others' refusals are most of the answers, so they stop the run."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    reason = None
    for n in range(1_000):
        arm = f"arm-{n % 20}"
        if arm == "arm-0":
            withheld.accept("fcm", arm)
        else:
            _, reason = withheld.refuse("fcm", arm, PAYLOAD, n)
        if reason:
            break
    assert (reason or "").endswith("by fcm for 19 arms, 50 devices and none accepted")


def test_refusals_in_arms_that_are_accepted_count_for_no_other() -> None:
    """Forty-nine arms refuse their first device and take their second: they say nothing about the fiftieth arm."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    for n in range(MIN_REFUSALS - 1):
        assert withheld.refuse("fcm", f"arm-{n}", PAYLOAD, n) == ([], None)
    for n in range(MIN_REFUSALS - 1):
        assert withheld.accept("fcm", f"arm-{n}") == [n]
        assert withheld.accept("fcm", f"arm-{n}") == []
    for n in range(MIN_REFUSALS - 1):
        assert withheld.refuse("fcm", "arm-50", PAYLOAD, n) == ([], None)


def test_a_few_bad_arms_among_many_good_ones() -> None:
    """Refusals are the exception at the gateway: each arm is judged for itself, at its own fiftieth."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    for n in range(40 * (MIN_REFUSALS - 1)):
        arm = n % 40
        if arm < 5:
            assert withheld.refuse("fcm", f"arm-{arm}", PAYLOAD, n) == ([], None)
        else:
            withheld.accept("fcm", f"arm-{arm}")
    _, reason = withheld.refuse("fcm", "arm-0", PAYLOAD, 99)
    assert reason == "payload_refused: INVALID_ARGUMENT by fcm for arm arm-0"


def test_what_is_put_aside_stays_counted() -> None:
    """The window needs the room: the refusals go, the evidence stays."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    refuse(withheld, PAYLOAD, MIN_REFUSALS - 1)
    assert withheld.take_all() == list(range(MIN_REFUSALS - 1))
    assert withheld.count == 0
    assert refuse(withheld, PAYLOAD, 1) is not None


def test_every_suspicion_about_tokens_has_its_word() -> None:
    """A run that stops says which setting it is."""
    assert set(STOPS) == set(Suspicion) - {Suspicion.PAYLOAD}


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (WRONG_WORLD, "wrong_environment"),
        (WRONG_APP, "wrong_topic"),
        (WRONG_PROJECT, "wrong_sender"),
        (NO_TOKEN, "wrong_tokens"),
    ],
)
def test_wrong_tokens(verdict: Verdict, kind: str) -> None:
    """Judged at a hundred answers, over all arms: half of them refused is the setting's fault."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    for n in range(MIN_ANSWERS // 2):
        assert withheld.accept("apns", "ab"[n % 2]) == []
    assert refuse(withheld, verdict, MIN_ANSWERS // 4, arm="a") is None
    reason = refuse(withheld, verdict, MIN_ANSWERS // 4, arm="b")
    assert reason == f"{kind}: 50 of 100 answers of apns were {verdict.reason}"
    assert withheld.count == MIN_ANSWERS // 2


@pytest.mark.parametrize("verdict", [WRONG_WORLD, WRONG_APP, WRONG_PROJECT, NO_TOKEN])
def test_some_wrong_tokens(verdict: Verdict) -> None:
    """Fewer than half: at a hundred answers they are the devices' own, whatever the hundredth is."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    refuse(withheld, verdict, 3)
    for _ in range(MIN_ANSWERS - 4):
        assert withheld.accept("apns", "b") == []
    assert withheld.accept("apns", "b") == [0, 1, 2]
    assert withheld.refuse("apns", "a", verdict, 7) == ([7], None)


def test_all_tokens_of_another_project() -> None:
    """The hundredth answer stops the run, in words that name gateway, figures and answer; no device is rejected."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    assert refuse(withheld, WRONG_PROJECT, MIN_ANSWERS - 1, endpoint="fcm") is None
    clear, reason = withheld.refuse("fcm", "b", WRONG_PROJECT, 99)
    assert (clear, reason) == ([], "wrong_sender: 100 of 100 answers of fcm were SENDER_ID_MISMATCH")
    assert withheld.count == MIN_ANSWERS


@pytest.mark.parametrize("verdict", [WRONG_PROJECT, NO_TOKEN])
def test_dead_tokens_say_nothing_of_fcms_project(verdict: Verdict) -> None:
    """An old list, three in four dead: FCM says UNREGISTERED of other projects' dead tokens too."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    refuse(withheld, DEAD, 300, endpoint="fcm")
    assert refuse(withheld, verdict, MIN_ANSWERS - 1, endpoint="fcm") is None
    assert withheld.count == MIN_ANSWERS - 1
    _, reason = withheld.refuse("fcm", "a", verdict, 99)
    assert (reason or "").endswith(f"100 of 100 answers of fcm were {verdict.reason}, besides 300 dead tokens")


def test_two_kinds_of_wrong_tokens() -> None:
    """Each kind is judged for itself: the few of the one are not cleared by the many of the other."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    refuse(withheld, NO_TOKEN, 30, endpoint="fcm")
    reason = refuse(withheld, WRONG_PROJECT, 70, endpoint="fcm")
    assert reason == "wrong_sender: 70 of 100 answers of fcm were SENDER_ID_MISMATCH"
    assert withheld.count == 100


def test_renewed_credentials_are_judged_anew() -> None:
    """A thousand good answers of the old secret do not hide that the new one is another project's."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    for _ in range(1_000):
        withheld.accept("fcm", "a")
    assert withheld.renewed("fcm") == []
    assert refuse(withheld, WRONG_PROJECT, MIN_ANSWERS - 1, endpoint="fcm") is None
    assert refuse(withheld, WRONG_PROJECT, 1, endpoint="fcm") is not None


def test_what_the_old_credentials_were_refused_is_asked_for_again() -> None:
    """Tokens of the renewed credentials are no longer withheld; those of the other gateway and the message are."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    refuse(withheld, WRONG_PROJECT, 2, endpoint="fcm")
    refuse(withheld, PAYLOAD, 1, endpoint="fcm")
    refuse(withheld, WRONG_APP, 1, endpoint="apns")
    assert withheld.renewed("fcm") == [0, 1]
    assert withheld.count == 2
    for _ in range(MIN_ANSWERS):
        assert withheld.accept("fcm", "b") == []


def test_dead_tokens_are_answers() -> None:
    """A token that died in this environment belongs to it: it speaks for the environment."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    refuse(withheld, DEAD, MIN_ANSWERS)
    assert withheld.refuse("apns", "a", WRONG_WORLD, 7) == ([7], None)


def test_worlds_apart() -> None:
    """Each endpoint is judged by its own answers."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    for _ in range(MIN_ANSWERS):
        withheld.accept("apns", "a")
    assert refuse(withheld, WRONG_WORLD, MIN_ANSWERS - 1, endpoint="apns-sandbox") is None
    assert refuse(withheld, WRONG_WORLD, 1, endpoint="apns-sandbox") is not None


def test_nothing_proved() -> None:
    """Too few answers to stop: the exceptions are the devices' own; where all are refused, it may still be us."""
    withheld: WithheldRefusals[int] = WithheldRefusals()
    refuse(withheld, PAYLOAD, 2)
    refuse(withheld, WRONG_PROJECT, 3, endpoint="fcm")
    refuse(withheld, DEAD, 20, endpoint="fcm")
    withheld.refuse("apns-sandbox", "a", WRONG_WORLD, 7)
    withheld.accept("apns-sandbox", "a")
    withheld.accept("apns-sandbox", "b")
    assert withheld.count == 6
    own, doubtful = withheld.decide()
    assert (own, sorted(doubtful)) == ([7], [0, 0, 1, 1, 2])
    assert withheld.count == 0
