"""Whether an endpoint accepts any device: it distinguishes a device that is refused alone from a gateway's outage.

A refusal for now (a 5xx, for example) counts against a device's attempts only if the gateway accepts others. Otherwise
an outage would use up the attempts of every device, and they would all end as failed.
"""

from collections.abc import Mapping

import msgspec


class EndpointEvidence(msgspec.Struct, array_like=True):
    """The latest evidence from one endpoint, as times of requests in seconds since the epoch; 0 for never.

    The times are those of the requests and not of the answers, because a late acceptance says nothing about the time
    after its request. It is stored with the lane, as an array.
    """

    accepted_at: float = 0.0
    """When the latest accepted request was sent."""
    refused_at: float = 0.0
    """The same of the latest request refused for now, of a device that had no refusal counted against it."""


class Health:
    """The evidence of each endpoint, over all hops of a lane: it is stored in the ledger."""

    def __init__(self, seen: Mapping[str, EndpointEvidence] | None = None) -> None:
        # Copies: `accept` and `refuse` change them, and the caller's belong to a frozen value.
        self.seen: dict[str, EndpointEvidence] = {
            name: EndpointEvidence(one.accepted_at, one.refused_at) for name, one in (seen or {}).items()
        }

    def copy_of_seen(self) -> dict[str, EndpointEvidence]:
        """A copy that another thread may read while this one goes on."""
        return Health(self.seen).seen

    def accept(self, endpoint: str, asked_at: float) -> None:
        """Record that a request was accepted."""
        seen = self.seen.get(endpoint)
        if seen is None:
            seen = self.seen[endpoint] = EndpointEvidence()
        if asked_at > seen.accepted_at:
            seen.accepted_at = asked_at

    def refuse(self, endpoint: str, asked_at: float, since: float, counted: int) -> bool:
        """Record that a request was refused for now. Returns whether the refusal counts against its device.

        It counts if a later request of another device was accepted: the endpoint works, and refuses this device. It
        does not count in an outage: other devices, with no refusal counted so far, were refused too and none was
        accepted. Without requests of other devices the last evidence decides: a device that was refused alone before is
        refused alone now.

        Args:
            asked_at: when this request was sent.
            since: when the device's previous request was sent; `asked_at` for its first request.
            counted: how many of the device's refusals have counted so far.
        """
        seen = self.seen.setdefault(endpoint, EndpointEvidence())
        # Another device was accepted since this one was last tried.
        if seen.accepted_at > since:
            return True
        # No acceptance since. Other devices were refused too: an outage. None was: nothing has changed for this device.
        if counted > 0:
            return seen.refused_at <= since
        # A device without counted refusals is the evidence of an outage.
        seen.refused_at = max(seen.refused_at, asked_at)
        return False
