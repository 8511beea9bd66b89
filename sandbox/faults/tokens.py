# ruff: noqa: ARG001  (the shape of OAuthBehave)
"""How Google's token endpoint behaves in scenarios. Each function is an `OAuthBehave`."""

from sandbox.gateways.behaviour import Reply
from sandbox.gateways.oauth import TokenBehaviour

SHORT_S = 8
"""A token is good for so long in scenarios that want renewals."""
HICCUP_S = 5.0
_UNAVAILABLE = Reply(503, "", b'{"error": "temporarily_unavailable"}', (("content-type", "application/json"),))
_PAGE = Reply(
    502, "html", b"<!DOCTYPE html><title>Error 502 (Server Error)!!1</title>", (("content-type", "text/html"),)
)


def hiccup(nth: int, since_s: float) -> TokenBehaviour:
    """503 for the first 5 s, and for 5 s again from 9 s on: past the whole life of the first token."""
    if since_s < HICCUP_S or 9.0 <= since_s < 9.0 + HICCUP_S:
        return TokenBehaviour(raw=_UNAVAILABLE)
    return TokenBehaviour(lifetime_s=SHORT_S)


def slow(nth: int, since_s: float) -> TokenBehaviour:
    """Every token takes 7 s, and is good for 24: it is renewed at half its time."""
    return TokenBehaviour(delay_ms=7_000, lifetime_s=24)


def pages(nth: int, since_s: float) -> TokenBehaviour:
    """HTML pages with 502, as Google's front ends have them, for 45 s."""
    return TokenBehaviour(raw=_PAGE) if since_s < 45 else TokenBehaviour()
