"""Answers as the gateways give them, for scenarios whose server misbehaves in HTTP/2."""

from sandbox.wire.actions import Reply
from sandbox.wire.server import Seen

_APNS_ID = "apns-id"


def accepted(seen: Seen, delay_s: float = 0.0, frames: int = 1) -> Reply:
    """The gateway's own 200, FCM's or APNs'."""
    if seen.path.startswith("/3/device/"):
        headers = tuple(pair for pair in seen.headers if pair[0] == _APNS_ID)
        return Reply(200, b"", headers, delay_s=delay_s)
    return Reply(200, b'{"name": "projects/sandbox/messages/0:1"}', frames=frames, delay_s=delay_s)
