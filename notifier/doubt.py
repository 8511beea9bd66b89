"""Doubt: is it the device, or is it us? One refusal blames the device; many and no success blame the campaign.

Refusals that could be ours are held back until it is clear, so that a wrong setting never makes good tokens look dead.
"""

from typing import Generic, TypeVar

from notifier.outcome import Suspicion, Verdict

MIN_REFUSALS = 50
"""Distinct devices of one gateway and arm whose payload was refused, with none accepted: it is the payload."""
MIN_ANSWERS = 100
"""Answers before tokens may be blamed on the environment or the topic."""
SHARE = 0.5
"""So much of them refused: it is the environment or the topic."""

H = TypeVar("H")
Place = tuple[str, str, Suspicion]


class Doubts(Generic[H]):
    """Refusals that wait for a judgement. `H` is whatever the caller holds back with each."""

    def __init__(self) -> None:
        self._held: dict[Place, list[H]] = {}
        self._refused: dict[Place, int] = {}
        self._answers: dict[str, int] = {}
        self._accepted: set[tuple[str, str]] = set()

    def accept(self, endpoint: str, arm: str) -> list[H]:
        """A device was accepted. Returns the refusals that are thereby the devices' own."""
        answers = self._answers[endpoint] = self._answers.get(endpoint, 0) + 1
        self._accepted.add((endpoint, arm))
        if not self._held:
            return []
        clear = self._held.pop((endpoint, arm, Suspicion.PAYLOAD), [])
        if answers >= MIN_ANSWERS:
            for suspicion in (Suspicion.ENVIRONMENT, Suspicion.TOPIC):
                if self._refusals(endpoint, suspicion) < SHARE * answers:
                    clear += self._release(endpoint, suspicion)
        return clear

    def refuse(self, endpoint: str, arm: str, verdict: Verdict, what: H) -> tuple[list[H], str | None]:
        """A device was refused, perhaps in a way that could be our fault.

        Returns what is clear now: the refusals that are the devices' own, and the reason to stop if it is us.
        """
        self._answers[endpoint] = self._answers.get(endpoint, 0) + 1
        if verdict.suspicion is None:
            return [what], None
        place = (endpoint, arm, verdict.suspicion)
        self._refused[place] = self._refused.get(place, 0) + 1
        if verdict.suspicion is not Suspicion.PAYLOAD:
            return self._blame_tokens(endpoint, verdict, place, what)
        if (endpoint, arm) in self._accepted:
            return [what], None
        self._held.setdefault(place, []).append(what)
        if self._refused[place] >= MIN_REFUSALS:
            return [], f"payload_refused: {verdict.reason} by {endpoint} for arm {arm}"
        return [], None

    def _blame_tokens(self, endpoint: str, verdict: Verdict, place: Place, what: H) -> tuple[list[H], str | None]:
        """Wrong environment and wrong topic are the endpoint's, whatever the arm."""
        answers, refused = self._answers[endpoint], self._refusals(endpoint, place[2])
        self._held.setdefault(place, []).append(what)
        if answers < MIN_ANSWERS:
            return [], None
        if refused >= SHARE * answers:
            kind = "wrong_environment" if place[2] is Suspicion.ENVIRONMENT else "wrong_topic"
            return [], f"{kind}: {refused} of {answers} answers of {endpoint} were {verdict.reason}"
        return self._release(endpoint, place[2]), None

    def _refusals(self, endpoint: str, suspicion: Suspicion) -> int:
        return sum(n for (where, _, why), n in self._refused.items() if where == endpoint and why is suspicion)

    def _release(self, endpoint: str, suspicion: Suspicion) -> list[H]:
        places = [place for place in self._held if place[0] == endpoint and place[2] is suspicion]
        return [what for place in places for what in self._held.pop(place)]

    def settle(self) -> list[H]:
        """Everything is answered and nothing was proved: what is held back is the devices' own."""
        held, self._held = self._held, {}
        return [what for some in held.values() for what in some]

    @property
    def held(self) -> int:
        """How many refusals wait."""
        return sum(map(len, self._held.values()))
