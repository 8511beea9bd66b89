"""The control port, plain HTTP: the counts, the phones, and forgetting.

| request | does |
|---|---|
| `GET /counts` | all figures, as `counts.Figures` |
| `GET /arrivals` | by gateway, how many requests arrived in each 20 ms |
| `POST /reset` | forgets figures, attempts and pushes; registered phones and access tokens stay |
| `POST /register` with `{"tokens": ["…"]}` | keeps the pushes of these tokens from now on |
| `GET /pushes?token=…` | the last accepted pushes of a registered token, oldest first |
| `POST /revoke` | makes every access token issued so far worthless |
| `POST /behave` with `{"behaviour": "module:function"}` | decides the answers from now on; "" for the prefixes |
| … and with `"oauth": "module:function"` | the same for access tokens; "" for the usual |
"""

import resource
import time
from urllib.parse import parse_qs

import msgspec
from granian.rsgi import Scope

from sandbox.gateways.behaviour import by_prefix, load
from sandbox.gateways.counts import GatewayCounts
from sandbox.gateways.endpoint import Endpoint, Exchange, Phones
from sandbox.gateways.oauth import OAuth, OAuthBehave, usual

_JSON = [("content-type", "application/json")]


class Registration(msgspec.Struct, frozen=True):
    """The body of `/register`."""

    tokens: list[str]


class Choice(msgspec.Struct, frozen=True):
    """The body of `/behave`."""

    behaviour: str
    oauth: str = ""


class Control:
    """Answers the control port's requests."""

    def __init__(self, endpoints: tuple[Endpoint, ...], oauth: OAuth, phones: Phones) -> None:
        self._counts: dict[str, GatewayCounts] = {endpoint.gateway: endpoint.counts for endpoint in endpoints}
        self._endpoints = endpoints
        self._oauth = oauth
        self._phones = phones

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Takes one request (granian calls this)."""
        status, answer = self._answer(scope, await exchange())
        exchange.response_bytes(status, _JSON, msgspec.json.encode(answer))

    def _answer(self, scope: Scope, body: bytes) -> tuple[int, object]:
        match scope.method, scope.path:
            case "GET", "/counts":
                return 200, self._figures()
            case "GET", "/arrivals":
                return 200, {name: counts.arrivals for name, counts in self._counts.items()}
            case "GET", "/pushes":
                return 200, {"pushes": self._phones.pushes(parse_qs(scope.query_string).get("token", [""])[0])}
            case "POST", "/register":
                return self._register(body)
            case "POST", "/behave":
                return self._behave(body)
            case "POST", "/reset":
                self._reset()
                return 200, {}
            case "POST", "/revoke":
                self._oauth.revoke()
                return 200, {}
            case _:
                return 404, {"error": f"no {scope.method} {scope.path} here"}

    def _figures(self) -> dict[str, object]:
        figures: dict[str, object] = {name: counts.as_json() for name, counts in self._counts.items()}
        rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        process = {"cpu_s": round(time.process_time(), 3), "max_rss_mb": round(rss_mb, 1)}
        return figures | {"oauth": self._oauth.as_json(), "process": process}

    def _register(self, body: bytes) -> tuple[int, object]:
        try:
            registration = msgspec.json.decode(body, type=Registration)
        except msgspec.MsgspecError as error:
            return 400, {"error": str(error)}
        self._phones.register(registration.tokens)
        return 200, {"registered": len(registration.tokens)}

    def _behave(self, body: bytes) -> tuple[int, object]:
        try:
            choice = msgspec.json.decode(body, type=Choice)
            behave = load(choice.behaviour) if choice.behaviour else by_prefix
            oauth: OAuthBehave = load(choice.oauth) if choice.oauth else usual  # type: ignore[assignment]
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            return 400, {"error": str(error)}
        for endpoint in self._endpoints:
            endpoint.behave = behave
        self._oauth.behave(oauth)
        return 200, {}

    def _reset(self) -> None:
        for counts in self._counts.values():
            counts.reset()
        self._oauth.reset()
        self._phones.reset()
