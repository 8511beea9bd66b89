"""Whether an endpoint accepts anybody at all: tells a device that is refused alone from an outage of the gateway."""

from collections.abc import Mapping

import msgspec


class EndpointEvidence(msgspec.Struct, array_like=True):
    """What was last seen of one endpoint, as times of *requests* in seconds since the epoch; 0 for never.

    Of requests, not of answers: an acceptance that is answered late says nothing about what came after it was asked.
    """

    accepted_at: float = 0.0
    """The latest request that was accepted."""
    refused_at: float = 0.0
    """The latest that was refused for now, of a device that was never refused while others were accepted."""


class Health:
    """What was seen of each endpoint, over all hops of a lane (it is kept in the ledger)."""

    def __init__(self, seen: Mapping[str, EndpointEvidence] | None = None) -> None:
        # Copies, because `accept` and `refuse` change them and the caller's are a part of a frozen value.
        self.seen: dict[str, EndpointEvidence] = {
            name: EndpointEvidence(one.accepted_at, one.refused_at) for name, one in (seen or {}).items()
        }

    def accept(self, endpoint: str, asked_at: float) -> None:
        """A request was accepted."""
        seen = self.seen.get(endpoint)
        if seen is None:
            seen = self.seen[endpoint] = EndpointEvidence()
        if asked_at > seen.accepted_at:
            seen.accepted_at = asked_at

    def refuse(self, endpoint: str, asked_at: float, since: float, counted: int) -> bool:
        """A request was refused for now. Returns whether that counts against its device.

        It does when a later request of another device was accepted: then it is this device. It does not in an outage,
        when others, until then above suspicion, were refused too and nobody was accepted. Where nobody else was asked
        the last evidence holds: a device that was refused alone before is refused alone now.

        Args:
            asked_at: when this request was made.
            since: when the device's request before it was made; of a first request the same as `asked_at`.
            counted: how many of the device's refusals counted before this one.
        """
        seen = self.seen.setdefault(endpoint, EndpointEvidence())
        if seen.accepted_at > since:
            return True
        if counted > 0:
            return seen.refused_at <= since
        seen.refused_at = max(seen.refused_at, asked_at)
        return False
