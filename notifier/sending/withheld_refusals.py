"""Withholds refusals that could be our fault until it is clear: one blames the device, many and no success blame us.

So a wrong setting or message never makes good tokens look dead. Counts by endpoint; for payloads also by arm. Pure.
"""

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from notifier.model.lane_membership import Tally
from notifier.model.outcome import Disposition, Suspicion, Verdict
from notifier.model.plurals import counted

MIN_REFUSALS = 50
"""Distinct devices of one gateway and arm whose payload was refused, with none accepted: it is the payload.

The same number over all arms of a gateway that had none accepted, if that is half of what the gateway answered: with
many arms no single one has so many.
"""
MIN_ANSWERS = 100
"""Answers before a setting may be blamed for refused tokens."""
SHARE = 0.5
"""Share of refused ones among them from which on it is the setting."""

STOPS: Mapping[Suspicion, str] = {
    Suspicion.ENVIRONMENT: "wrong_environment",
    Suspicion.TOPIC: "wrong_topic",
    Suspicion.SENDER: "wrong_sender",
    Suspicion.TOKENS: "wrong_tokens",
}
"""Suspicions about tokens, each with the code that a run's stop reason begins with."""

_OF_LIVE_TOKENS = frozenset({Suspicion.SENDER, Suspicion.TOKENS})
"""Judged without the dead. APNs calls a token dead *for the topic*, so it knows it. FCM says UNREGISTERED of another
project's dead token too, which proves nothing: https://github.com/firebase/firebase-admin-python/pull/492."""

R = TypeVar("R")


class Group(NamedTuple):
    """Refusals that are counted together."""

    endpoint: str
    arm: str
    suspicion: Suspicion


class WithheldRefusals(Generic[R]):
    """Refusals that wait for a decision. `R` is whatever the caller keeps of each."""

    def __init__(self) -> None:
        self._withheld: dict[Group, list[R]] = {}
        self._refused: dict[Group, int] = {}
        """How many were refused, withheld or not."""
        self._answers: dict[str, int] = {}
        self._dead: dict[str, int] = {}
        """By endpoint: answers, and those of them that said only that the token is dead."""
        self._accepted: set[tuple[str, str]] = set()
        """Endpoints and arms that had a device accepted."""
        self._unproven: dict[str, int] = {}
        """By endpoint: refused payloads of arms that had none accepted."""
        self._elsewhere = Tally()
        """What other lanes of the run have seen: it is judged over all of them."""

    # -- other lanes --------------------------------------------------------------------------------------------------

    def tally(self) -> Tally:
        """What this lane has seen."""
        refused = {f"{group.endpoint}/{group.arm}/{group.suspicion.value}": n for group, n in self._refused.items()}
        accepted = {f"{endpoint}/{arm}" for endpoint, arm in self._accepted}
        return Tally(accepted, dict(self._answers), dict(self._dead), refused)

    def take_elsewhere(self, tally: Tally) -> tuple[list[R], str | None]:
        """Take in what other lanes have seen.

        Returns:
            The refusals that are clear now, as the devices' own; and the reason to stop the run if it is our fault.
        """
        self._elsewhere = tally
        clear: list[R] = []
        for group in list(self._withheld):
            if group.suspicion is Suspicion.PAYLOAD:
                if self._is_accepted(group.endpoint, group.arm):
                    clear += self._withheld.pop(group)
                elif self._refused_of(group) >= MIN_REFUSALS:
                    return clear, f"payload_refused by {group.endpoint} for arm {group.arm}, over all lanes of the run"
            elif self._answers_about(group.endpoint, group.suspicion) >= MIN_ANSWERS:
                if self._is_setting(group.endpoint, group.suspicion):
                    return clear, f"{STOPS[group.suspicion]}: by {group.endpoint}, over all lanes of the run"
                clear += self._withheld.pop(group, [])
        return clear, None

    def _is_accepted(self, endpoint: str, arm: str) -> bool:
        return (endpoint, arm) in self._accepted or f"{endpoint}/{arm}" in self._elsewhere.accepted

    def _refused_of(self, group: Group) -> int:
        name = f"{group.endpoint}/{group.arm}/{group.suspicion.value}"
        return self._refused.get(group, 0) + self._elsewhere.refused.get(name, 0)

    @property
    def count(self) -> int:
        """How many refusals are withheld."""
        return sum(map(len, self._withheld.values()))

    # -- answers ------------------------------------------------------------------------------------------------------

    def accept(self, endpoint: str, arm: str) -> list[R]:
        """A device was accepted. Returns the refusals that are thereby the devices' own."""
        self._answers[endpoint] = self._answers.get(endpoint, 0) + 1
        if (endpoint, arm) not in self._accepted:
            self._accepted.add((endpoint, arm))
            refused = self._refused.get(Group(endpoint, arm, Suspicion.PAYLOAD), 0)
            self._unproven[endpoint] = self._unproven.get(endpoint, 0) - refused
        if not self._withheld:  # nearly always: this is called for every accepted push
            return []
        # The arm's message is fine, so its refused payloads are the devices' own.
        clear = self._withheld.pop(Group(endpoint, arm, Suspicion.PAYLOAD), [])
        # One answer more may be the one that settles the question of tokens.
        for suspicion in [group.suspicion for group in self._withheld if group.endpoint == endpoint]:
            if suspicion is not Suspicion.PAYLOAD and self._is_cleared(endpoint, suspicion):
                clear += self._release(endpoint, suspicion)
        return clear

    def refuse(
        self, endpoint: str, arm: str, verdict: Verdict, refusal: R, *, is_counted: bool = False
    ) -> tuple[list[R], str | None]:
        """A device was refused, perhaps in a way that could be our fault.

        Args:
            is_counted: this device's refusal was counted before, and is not counted twice.

        Returns:
            The refusals that are clear now, as the devices' own; and the reason to stop the run if it is our fault.
        """
        added = 0 if is_counted else 1
        self._answers[endpoint] = self._answers.get(endpoint, 0) + added
        if verdict.suspicion is None:
            if verdict.disposition is Disposition.DROP_TOKEN:
                self._dead[endpoint] = self._dead.get(endpoint, 0) + added
            return [refusal], None
        group = Group(endpoint, arm, verdict.suspicion)
        self._refused[group] = self._refused.get(group, 0) + added
        if verdict.suspicion is not Suspicion.PAYLOAD:
            return self._suspect_setting(verdict, group, refusal)
        if self._is_accepted(endpoint, arm):
            return [refusal], None
        self._withheld.setdefault(group, []).append(refusal)
        self._unproven[endpoint] = self._unproven.get(endpoint, 0) + added
        return [], self._suspect_payload(verdict, group)

    def _suspect_payload(self, verdict: Verdict, group: Group) -> str | None:
        """The reason to stop, if it is the payload of one arm, or of many."""
        endpoint, arm, _ = group
        if self._refused_of(group) >= MIN_REFUSALS:
            return f"payload_refused: {verdict.reason} by {endpoint} for arm {arm}"
        unproven = self._unproven[endpoint]
        if unproven < MIN_REFUSALS or unproven < SHARE * self._answers[endpoint]:
            return None
        arms = [
            one.arm
            for one in self._refused
            if one.endpoint == endpoint
            and one.suspicion is Suspicion.PAYLOAD
            and (endpoint, one.arm) not in self._accepted
        ]
        extent = f"{counted(len(arms), 'arm')}, {counted(unproven, 'device')} and none accepted"
        return f"payload_refused: {verdict.reason} by {endpoint} for {extent}"

    def _suspect_setting(self, verdict: Verdict, group: Group, refusal: R) -> tuple[list[R], str | None]:
        """A wrong setting is the endpoint's, whatever the arm: as for `refuse`."""
        endpoint, _, suspicion = group
        self._withheld.setdefault(group, []).append(refusal)
        answers = self._answers_about(endpoint, suspicion)
        if answers < MIN_ANSWERS:
            return [], None
        if not self._is_setting(endpoint, suspicion):
            return self._release(endpoint, suspicion), None
        besides = self._answers[endpoint] + self._elsewhere.answers.get(endpoint, 0) - answers
        return [], (
            f"{STOPS[suspicion]}: {self._refusals(endpoint, suspicion)} of {answers} answers of {endpoint} were "
            f"{verdict.reason}" + (f", besides {besides} dead tokens" if besides else "")
        )

    # -- what the counts say ------------------------------------------------------------------------------------------

    def _answers_about(self, endpoint: str, suspicion: Suspicion) -> int:
        """How many answers say something about it."""
        elsewhere = self._elsewhere
        answers = self._answers.get(endpoint, 0) + elsewhere.answers.get(endpoint, 0)
        if suspicion not in _OF_LIVE_TOKENS:
            return answers
        return answers - self._dead.get(endpoint, 0) - elsewhere.dead.get(endpoint, 0)

    def _is_cleared(self, endpoint: str, suspicion: Suspicion) -> bool:
        """Whether enough answers say that it is the tokens."""
        is_enough = self._answers_about(endpoint, suspicion) >= MIN_ANSWERS
        return is_enough and not self._is_setting(endpoint, suspicion)

    def _is_setting(self, endpoint: str, suspicion: Suspicion) -> bool:
        """Whether the share of refused tokens is so large that the setting is at fault."""
        return self._refusals(endpoint, suspicion) >= SHARE * self._answers_about(endpoint, suspicion)

    def _refusals(self, endpoint: str, suspicion: Suspicion) -> int:
        """How many were refused so, over all arms."""
        here = sum(n for group, n in self._refused.items() if _is_of(group, endpoint, suspicion))
        return here + sum(
            n
            for name, n in self._elsewhere.refused.items()
            if name.startswith(f"{endpoint}/") and name.endswith(f"/{suspicion.value}")
        )

    def _release(self, endpoint: str, suspicion: Suspicion) -> list[R]:
        """Take out what is withheld for one suspicion, over all arms."""
        groups = [group for group in self._withheld if _is_of(group, endpoint, suspicion)]
        return [refusal for group in groups for refusal in self._withheld.pop(group)]

    # -- without an answer --------------------------------------------------------------------------------------------

    def renewed(self, endpoint: str) -> list[R]:
        """The credentials were replaced: what the old ones met proves nothing about the new ones.

        Returns the withheld refusals of tokens, to be asked for again. Refused payloads stay: they are the message's.
        """
        self._answers.pop(endpoint, None)
        self._dead.pop(endpoint, None)
        for group in [group for group in self._refused if group.endpoint == endpoint and group.suspicion in STOPS]:
            del self._refused[group]
        return [refusal for suspicion in STOPS for refusal in self._release(endpoint, suspicion)]

    def decide(self) -> tuple[list[R], list[R]]:
        """No more answers come. Returns what was withheld: the devices' own, and what may still be our fault.

        There are too few answers to stop a run; refusals are the devices' own when they are the exception among them.
        """
        own: list[R] = []
        unclear: list[R] = []
        for (endpoint, _, suspicion), refusals in self._withheld.items():
            is_own = suspicion in STOPS and not self._is_setting(endpoint, suspicion)
            (own if is_own else unclear).extend(refusals)
        self._withheld = {}
        return own, unclear

    def take_all(self) -> list[R]:
        """Take out all that is withheld, to be asked for later. What was counted stays counted."""
        refusals = [refusal for group in self._withheld.values() for refusal in group]
        self._withheld = {}
        return refusals


def _is_of(group: Group, endpoint: str, suspicion: Suspicion) -> bool:
    return group.endpoint == endpoint and group.suspicion is suspicion
