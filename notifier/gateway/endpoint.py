"""A gateway's host and the limits of its connections, as data.

Endpoint(name="apns", base_url="https://api.push.apple.com", max_connections=4, max_streams=500, probe_first=True)
"""

import msgspec


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One host, as a transport needs to know it."""

    name: str
    """What requests call it: `fcm`, `apns`, `apns-sandbox`."""
    base_url: str
    """Scheme, host and port, without a trailing slash."""
    max_connections: int
    max_streams: int
    """In flight on each connection, whatever more the server's SETTINGS would allow."""
    probe_first: bool
    """Keep every fresh connection at one request until that is answered, as APNs demands."""
    timeout_ms: int = 20_000
    """Deadline of one request, from `submit` to the last byte of the answer."""
    connect_timeout_ms: int = 5_000
    path_is_shared: bool = False
    """All requests have the same path, and it holds no secret (FCM's names the project, APNs' a device): then it is
    sent in full only once on each connection."""
