"""Refusals that could be our fault: withheld until it is clear whether they are the devices' own or stop the run.

Two judges decide. `WithheldRefusals` is for wrong payloads and settings (a topic, a project): the gateway works and
refuses what we send. Each endpoint's circuit breaker is for refusals of everything: wrong credentials or address.
"""

from collections.abc import Callable, Mapping

from notifier.model.lane_membership import Tally
from notifier.model.outcome import Disposition, Verdict
from notifier.model.runtime import Clock
from notifier.sending.batch import Push
from notifier.sending.endpoint_state import EndpointState
from notifier.sending.open_pushes import OpenPushes, Refusal
from notifier.sending.withheld_refusals import WithheldRefusals

WITHHELD_WINDOW_DIVISOR = 4
"""Withheld refusals fill at most a quarter of the window: the other pushes may prove whose fault they are."""


class Refusals:
    """What is withheld in a hop. Methods that return a text return the reason to stop the run, None to go on.

    Args:
        draw: a number in [0, 1), for jitter.
    """

    def __init__(
        self, pushes: OpenPushes, endpoints: Mapping[str, EndpointState], clock: Clock, draw: Callable[[], float]
    ) -> None:
        self._pushes = pushes
        self._endpoints = endpoints
        self._clock = clock
        self._draw = draw
        self._withheld: WithheldRefusals[Refusal] = WithheldRefusals()
        self._deferred_once: set[tuple[int, int]] = set()
        """Devices whose withheld refusal was deferred for want of room: it is counted already."""

    @property
    def count(self) -> int:
        """Pushes whose refusal is withheld."""
        return self._withheld.count + sum(endpoint.circuit.withheld for endpoint in self._endpoints.values())

    # -- what answers prove -------------------------------------------------------------------------------------------

    def accept(self, push: Push) -> None:
        """A push was accepted: the message's refusals are the devices' own, and the endpoint does not refuse all."""
        self.note_processed(push)
        for refusal in self._withheld.accept(push.endpoint, push.arm):
            self._pushes.end(*refusal)

    def note_processed(self, push: Push) -> None:
        """The endpoint looked at this push: what it refused of others before was not a refusal of everything."""
        circuit = self._endpoints[push.endpoint].circuit
        circuit.accept(push.key)
        if circuit.withheld:
            self._pushes.reject(circuit.exceptions())

    def refuse(self, refusal: Refusal) -> str | None:
        """A device or its payload was refused: end it, or withhold it while it could be our fault."""
        push, verdict, _ = refusal
        # An endpoint that knows a dead token works. A suspicious refusal proves less: it may refuse all alike.
        if verdict.disposition is Disposition.DROP_TOKEN and verdict.suspicion is None:
            self.note_processed(push)
        is_counted = push.key in self._deferred_once
        clear, reason = self._withheld.refuse(push.endpoint, push.arm, verdict, refusal, is_counted=is_counted)
        for one in clear:
            self._pushes.end(*one)
        return reason

    def refuse_everything(self, refusal: Refusal) -> str | None:
        """A refusal that would be every device's: one proves nothing; many with no acceptance between stop the run."""
        push, verdict, _ = refusal
        pushes, endpoint = self._pushes, self._endpoints[push.endpoint]
        now_s = self._clock.now()
        push.maybe_repeat = push.maybe_repeat or verdict.maybe_processed
        delay_s = endpoint.circuit.refuse(push.key, refusal, self._clock.monotonic(), self._draw())
        # What may have reached the phone is asked again in a later round only (`OpenPushes.ask_again`).
        if delay_s is not None and (pushes.is_draining or verdict.maybe_processed):
            pushes.defer(push, now_s + delay_s)
        elif delay_s is not None:
            pushes.ask_later(push, now_s + delay_s)
        pushes.reject(endpoint.circuit.exceptions())
        return self._reason(push, verdict) if endpoint.circuit.is_open else None

    def forget_old_credentials(self, endpoint: EndpointState) -> None:
        """The credentials were replaced: what the old ones were refused proves nothing, and is asked for again."""
        self._pushes.defer_refused(self._withheld.renewed(endpoint.name))
        self._pushes.defer_refused(endpoint.circuit.renewed())

    # -- other lanes --------------------------------------------------------------------------------------------------

    def tally(self) -> Tally:
        """What this lane has seen of the gateways, for the other lanes of the run."""
        tally = self._withheld.tally()
        tally.streaks = {name: one.circuit.streak for name, one in self._endpoints.items() if one.circuit.streak}
        return tally

    def take_elsewhere(self, tally: Tally) -> str | None:
        """Judge what is withheld by what the other lanes have seen, too."""
        for name, endpoint in self._endpoints.items():
            endpoint.circuit.elsewhere = tally.streaks.get(name, 0)
        clear, reason = self._withheld.take_elsewhere(tally)
        for one in clear:
            self._pushes.end(*one)
        return reason

    # -- when no proof comes ------------------------------------------------------------------------------------------

    def make_room(self) -> None:
        """Defer withheld refusals when they fill too much of the window, to be asked for when the audience is read.

        Each device is so once, and rejected the second time: otherwise rounds could follow each other for ever.
        """
        if self._withheld.count * WITHHELD_WINDOW_DIVISOR < self._pushes.window:
            return
        for refusal in self._withheld.take_all():
            device = refusal.push.key
            if device in self._deferred_once:
                self._pushes.reject([refusal])
            else:
                self._deferred_once.add(device)
                self._pushes.defer_refused([refusal])

    def defer_all(self) -> None:
        """Defer everything that is withheld."""
        self._pushes.defer_refused(self._withheld.take_all())
        for endpoint in self._endpoints.values():
            self._pushes.defer_refused(endpoint.circuit.take_all())

    def decide(self, *, is_last_round: bool) -> str | None:
        """No more answers come in this hop: decide what is withheld by the answers there are.

        What may still be our fault is asked for again, in a later hop or round. In the last round it is rejected
        instead, without a token being recorded as dead; what an endpoint refuses altogether then stops the run.
        """
        own, unclear = self._withheld.decide()
        for refusal in own:
            self._pushes.end(*refusal)
        if not is_last_round:  # a later round may bring the proof
            self._pushes.defer_refused(unclear)
            self.defer_all()
            return None
        self._pushes.reject(unclear)
        for endpoint in self._endpoints.values():
            own, unclear = endpoint.circuit.decide()
            self._pushes.reject(own)
            self._pushes.defer_refused(unclear)
            if unclear:
                return self._reason(unclear[0].push, unclear[0].verdict)
        return None

    def _reason(self, push: Push, verdict: Verdict) -> str:
        """The reason with which a run stops when an endpoint refuses everything."""
        if verdict.disposition is Disposition.RENEW:
            advice = self._endpoints[push.endpoint].carrier.advice
            return f"credentials_refused: {verdict.reason} by {push.endpoint}, with renewed credentials too; {advice}"
        return f"{verdict.reason}: {push.endpoint} refuses everything until this is fixed"
