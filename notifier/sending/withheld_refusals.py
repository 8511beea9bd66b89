"""Doubt: is it the device, or is it us? One refusal blames the device; many and no success blame the campaign.

Refusals that could be ours are held back until it is clear, so that a wrong setting never makes good tokens look dead.
"""

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from notifier.model.outcome import Disposition, Suspicion, Verdict

MIN_REFUSALS = 50
"""Distinct devices of one gateway and arm whose payload was refused, with none accepted: it is the payload.

The same number over all arms of a gateway that had none accepted, if that is half of what the gateway answered: with
many arms no single one has so many.
"""
MIN_ANSWERS = 100
"""Answers before a setting may be blamed for refused tokens."""
SHARE = 0.5
"""So many of them refused: it is the setting."""

STOPS: Mapping[Suspicion, str] = {
    Suspicion.ENVIRONMENT: "wrong_environment",
    Suspicion.TOPIC: "wrong_topic",
    Suspicion.SENDER: "wrong_sender",
    Suspicion.TOKENS: "wrong_tokens",
}
"""Suspicions about tokens, each with the word that a run stops with."""

_OF_LIVE_TOKENS = frozenset({Suspicion.SENDER, Suspicion.TOKENS})
"""Judged without the dead. APNs calls a token dead *for the topic*, so it knows it. FCM says UNREGISTERED of another
project's dead token too, which proves nothing: https://github.com/firebase/firebase-admin-python/pull/492."""

H = TypeVar("H")


class Place(NamedTuple):
    """Where refusals are counted."""

    endpoint: str
    arm: str
    suspicion: Suspicion


class WithheldRefusals(Generic[H]):
    """Refusals that wait for a judgement. `H` is whatever the caller holds back with each."""

    def __init__(self) -> None:
        self._held: dict[Place, list[H]] = {}
        self._refused: dict[Place, int] = {}
        self._answers: dict[str, int] = {}
        self._dead: dict[str, int] = {}
        self._accepted: set[tuple[str, str]] = set()
        self._unproven: dict[str, int] = {}
        """By endpoint: refused payloads of arms that had none accepted."""

    def accept(self, endpoint: str, arm: str) -> list[H]:
        """A device was accepted. Returns the refusals that are thereby the devices' own."""
        self._answers[endpoint] = self._answers.get(endpoint, 0) + 1
        if (endpoint, arm) not in self._accepted:
            self._accepted.add((endpoint, arm))
            refused = self._refused.get(Place(endpoint, arm, Suspicion.PAYLOAD), 0)
            self._unproven[endpoint] = self._unproven.get(endpoint, 0) - refused
        if not self._held:
            return []
        clear = self._held.pop(Place(endpoint, arm, Suspicion.PAYLOAD), [])
        for suspicion in [place.suspicion for place in self._held if place.endpoint == endpoint]:
            if suspicion is not Suspicion.PAYLOAD and self._is_cleared(endpoint, suspicion):
                clear += self._release(endpoint, suspicion)
        return clear

    def refuse(
        self, endpoint: str, arm: str, verdict: Verdict, what: H, *, is_counted: bool = False
    ) -> tuple[list[H], str | None]:
        """A device was refused, perhaps in a way that could be our fault. With `is_counted` it was so before.

        Returns what is clear now: the refusals that are the devices' own, and the reason to stop if it is us.
        """
        one = 0 if is_counted else 1
        self._answers[endpoint] = self._answers.get(endpoint, 0) + one
        if verdict.suspicion is None:
            if verdict.disposition is Disposition.DROP_TOKEN:
                self._dead[endpoint] = self._dead.get(endpoint, 0) + one
            return [what], None
        place = Place(endpoint, arm, verdict.suspicion)
        self._refused[place] = self._refused.get(place, 0) + one
        if verdict.suspicion is not Suspicion.PAYLOAD:
            return self._blame_tokens(verdict, place, what)
        if (endpoint, arm) in self._accepted:
            return [what], None
        self._held.setdefault(place, []).append(what)
        self._unproven[endpoint] = self._unproven.get(endpoint, 0) + one
        return [], self._blame_payload(verdict, place)

    def _blame_payload(self, verdict: Verdict, place: Place) -> str | None:
        """The reason to stop, if it is the payload of one arm, or of many."""
        endpoint, arm, _ = place
        if self._refused[place] >= MIN_REFUSALS:
            return f"payload_refused: {verdict.reason} by {endpoint} for arm {arm}"
        unproven = self._unproven[endpoint]
        if unproven < MIN_REFUSALS or unproven < SHARE * self._answers[endpoint]:
            return None
        arms = sum(
            (one.endpoint, one.suspicion) == (endpoint, Suspicion.PAYLOAD) and (endpoint, one.arm) not in self._accepted
            for one in self._refused
        )
        return f"payload_refused: {verdict.reason} by {endpoint} for {arms} arms, {unproven} devices and none accepted"

    def _blame_tokens(self, verdict: Verdict, place: Place, what: H) -> tuple[list[H], str | None]:
        """Wrong settings are the endpoint's, whatever the arm."""
        endpoint, _, suspicion = place
        self._held.setdefault(place, []).append(what)
        answers = self._answers_about(endpoint, suspicion)
        if answers < MIN_ANSWERS:
            return [], None
        if not self._is_setting(endpoint, suspicion):
            return self._release(endpoint, suspicion), None
        besides = self._answers[endpoint] - answers
        return [], (
            f"{STOPS[suspicion]}: {self._refusals(endpoint, suspicion)} of {answers} answers of {endpoint} were "
            f"{verdict.reason}" + (f", besides {besides} dead tokens" if besides else "")
        )

    def _answers_about(self, endpoint: str, suspicion: Suspicion) -> int:
        """How many answers say something about it."""
        dead = self._dead.get(endpoint, 0) if suspicion in _OF_LIVE_TOKENS else 0
        return self._answers.get(endpoint, 0) - dead

    def _is_cleared(self, endpoint: str, suspicion: Suspicion) -> bool:
        """Whether enough answers say that it is the tokens."""
        enough = self._answers_about(endpoint, suspicion) >= MIN_ANSWERS
        return enough and not self._is_setting(endpoint, suspicion)

    def _is_setting(self, endpoint: str, suspicion: Suspicion) -> bool:
        """Whether so many tokens are refused that it is not the tokens."""
        return self._refusals(endpoint, suspicion) >= SHARE * self._answers_about(endpoint, suspicion)

    def _refusals(self, endpoint: str, suspicion: Suspicion) -> int:
        return sum(
            n for place, n in self._refused.items() if (place.endpoint, place.suspicion) == (endpoint, suspicion)
        )

    def _release(self, endpoint: str, suspicion: Suspicion) -> list[H]:
        places = [place for place in self._held if (place.endpoint, place.suspicion) == (endpoint, suspicion)]
        return [what for place in places for what in self._held.pop(place)]

    def renewed(self, endpoint: str) -> list[H]:
        """The credentials are others now: what the old ones were told of tokens proves nothing about these.

        Returns the refusals of tokens that were held back, to be asked for again.
        """
        self._answers.pop(endpoint, None)
        self._dead.pop(endpoint, None)
        for place in [place for place in self._refused if place.endpoint == endpoint and place.suspicion in STOPS]:
            del self._refused[place]
        return [what for suspicion in STOPS for what in self._release(endpoint, suspicion)]

    def settle(self) -> tuple[list[H], list[H]]:
        """Nothing more is learnt for now. Returns what is held back: the devices' own, and what may still be our fault.

        Too few answers to stop a run: refusals are the devices' own when they are the exception among them.
        """
        own: list[H] = []
        doubtful: list[H] = []
        for (endpoint, _, suspicion), some in self._held.items():
            is_own = suspicion in STOPS and not self._is_setting(endpoint, suspicion)
            (own if is_own else doubtful).extend(some)
        self._held = {}
        return own, doubtful

    def put_aside(self) -> list[H]:
        """Return all that is held back, to be asked for later. What was counted stays counted."""
        some = [what for held in self._held.values() for what in held]
        self._held = {}
        return some

    @property
    def held(self) -> int:
        """How many refusals wait."""
        return sum(map(len, self._held.values()))
