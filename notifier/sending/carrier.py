"""The port to one gateway's knowledge: whether it can be asked, how to ask, and what an answer means."""

from typing import Protocol

import msgspec

from notifier.model.exchange import Answer, Request
from notifier.model.outcome import Access, Verdict
from notifier.sending.batch import Push

DRY_RUN = "dry_run"
"""The reason of a rehearsal's accepted rows: the push reached no phone."""


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """What a request carries and its answer brings back: the push, and the generation of the credentials it used."""

    push: Push
    generation: int


class Carrier(Protocol):
    """One endpoint, as sending needs it (`notifier.gateway.carrier`). No method blocks."""

    def access(self, now_s: float) -> Access:
        """Whether the endpoint can be asked now. Begins in the background what is missing for it."""
        ...

    def ask(self, push: Push, now_s: float) -> Request | Verdict:
        """The request for a push, its ticket a `Ticket`; or a verdict when nothing is to be asked.

        Sets `push.asked_as` where the gateway takes an id for each push.

        That is so when the push is too large, and in a rehearsal at a gateway that cannot validate only.
        """
        ...

    def judge(self, answer: Answer) -> Verdict:
        """What an answer means. Never raises."""
        ...

    def ttl_s(self, arm: str) -> float | None:
        """The time to live of an arm's message in seconds; None where the message states none."""
        ...

    def renew(self) -> None:
        """Read the secret again and renew the credentials, in the background: `access` says when that is done."""
        ...

    @property
    def generation(self) -> int:
        """Counts the renewals that the gateway has to judge afresh."""
        ...

    @property
    def advice(self) -> str:
        """What the run's operator should check when the credentials are refused."""
        ...
