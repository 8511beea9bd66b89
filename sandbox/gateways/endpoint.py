"""What the stand-ins share: take a request, check it, count it, ask the behaviour, wait, answer."""

import asyncio
import math
import random
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # granian does not export the first

from sandbox.gateways.behaviour import Answer, Behave, Behaviour, Gateway, Reply
from sandbox.gateways.counts import GatewayCounts, TokenTable

Exchange: TypeAlias = HTTPProtocol
"""A request's body and its answer: calling it reads the body."""

_Z_99 = 2.3263478740408408
"""The 99th percentile of the normal distribution, in standard deviations."""
_WATCHED_FROM_MS = 1000.0
"""From this delay on a client that gives up is noticed; watching for it costs a task for each request."""
_BROKEN = Reply(500, "broken stand-in")


class Ask(msgspec.Struct):
    """A request that passed the gateway's own checks and is now the behaviour's to decide.

    `message_id` is what the answer names: FCM's message name, or the apns-id.
    """

    token: str
    message_id: str
    payload: bytes
    validate_only: bool = False
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Latency:
    """A log-normal time to answer, by its median and its 99th percentile, both in ms."""

    median_ms: float
    p99_ms: float

    def sampler(self, seed: int = 0) -> Callable[[], float]:
        """A function that draws one latency in ms."""
        source = random.Random(seed)
        mu, sigma = math.log(self.median_ms), math.log(self.p99_ms / self.median_ms) / _Z_99
        return lambda: source.lognormvariate(mu, sigma)


class Phones:
    """The last pushes of the registered tokens: what a page of phones can show."""

    def __init__(self, keep: int = 200, phones_max: int = 10_000) -> None:
        self._keep = keep
        self._phones_max = phones_max
        self._pushes: dict[str, deque[dict[str, Any]]] = {}

    def register(self, tokens: list[str]) -> None:
        """Keeps the pushes of these tokens from now on; the oldest phones go when there are too many."""
        for token in tokens:
            self._pushes.setdefault(token, deque(maxlen=self._keep))
        while len(self._pushes) > self._phones_max:
            del self._pushes[next(iter(self._pushes))]

    def show(self, gateway: Gateway, ask: Ask) -> None:
        """Keeps an accepted push, if its token is registered."""
        shown = self._pushes.get(ask.token)
        if shown is not None:
            payload = msgspec.json.decode(ask.payload)
            headers = dict(ask.headers)
            push = {"at": time.time(), "gateway": gateway, "id": ask.message_id, "headers": headers, "payload": payload}
            shown.append(push)

    def pushes(self, token: str) -> list[dict[str, Any]]:
        """The token's last pushes, oldest first; none for a token that is not registered."""
        return list(self._pushes.get(token, ()))

    def reset(self) -> None:
        """Forgets the pushes; the tokens stay registered."""
        for shown in self._pushes.values():
            shown.clear()


class Endpoint(ABC):
    """One gateway. `examine` is its own part, `word` puts an answer into its words."""

    def __init__(self, gateway: Gateway, behave: Behave, phones: Phones, latency: Latency | None = None) -> None:
        self.gateway = gateway
        self.counts = GatewayCounts()
        self.behave = behave
        self._phones = phones
        self._latency_ms = latency.sampler() if latency else None

    @abstractmethod
    def examine(self, scope: Scope, body: bytes) -> Ask | Reply:
        """What the gateway checks before it looks at the token: an Ask, or the refusal."""

    @abstractmethod
    def word(self, scope: Scope, ask: Ask, behaviour: Behaviour) -> Reply:
        """The behaviour's answer in this gateway's words."""

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Takes one request (granian calls this)."""
        counts = self.counts
        nth = counts.arrive(scope.client)
        self.begin(scope)
        answered = False
        try:
            reply = await self._decide_or_say(scope, exchange, nth)
            if reply is not None:
                exchange.response_bytes(reply.status, list(reply.headers), reply.body)
                counts.answers[reply.status, reply.reason] += 1
                answered = True
        finally:
            counts.in_flight -= 1
            if not answered:
                counts.unanswered += 1
            self.end(scope, answered)

    def begin(self, scope: Scope) -> None:  # noqa: B027 - a gateway may override it
        """Hook: a request has arrived."""

    def end(self, scope: Scope, answered: bool) -> None:  # noqa: B027 - a gateway may override it
        """Hook: a request is over."""

    async def _decide_or_say(self, scope: Scope, exchange: Exchange, nth: int) -> Reply | None:
        """A fault of the stand-in or of its behaviour function is logged, and counted as `500 broken stand-in`."""
        try:
            return await self._decide(scope, exchange, nth)
        except Exception:  # noqa: BLE001 (a behaviour function may raise anything)
            traceback.print_exc()
            return _BROKEN

    async def _decide(self, scope: Scope, exchange: Exchange, nth: int) -> Reply | None:
        """The reply, when it is due; None when the client has gone."""
        ask = self.examine(scope, await exchange())
        if isinstance(ask, Reply):
            return ask if await self._wait(0.0, exchange) else None
        tokens = self._tokens(ask)
        attempt = tokens.ask(ask.token) if ask.token else 1
        behaviour = self.behave(self.gateway, ask.token, attempt, nth)
        if behaviour.answer is Answer.NEVER and behaviour.raw is None:
            await exchange.client_disconnect()
            return None
        if not await self._wait(behaviour.delay_ms, exchange):
            return None
        reply = behaviour.raw or self.word(scope, ask, behaviour)
        # Only now does the phone get the push: not if the client gave up during the delay.
        if reply.status == 200 or behaviour.processed:
            tokens.accept(ask.token)
            if not ask.validate_only:
                self._phones.show(self.gateway, ask)
        return reply

    def _tokens(self, ask: Ask) -> TokenTable:
        if ask.validate_only:
            self.counts.validate_only += 1
            return self.counts.rehearsed
        return self.counts.tokens

    async def _wait(self, delay_ms: float, exchange: Exchange) -> bool:
        """Waits for the delay and the latency; False when the client gave up before."""
        if self._latency_ms is not None:
            delay_ms += self._latency_ms()
        if delay_ms <= 0.0:
            return True
        if delay_ms < _WATCHED_FROM_MS:
            await asyncio.sleep(delay_ms / 1000)
            return True
        gone = asyncio.ensure_future(exchange.client_disconnect())
        done, _ = await asyncio.wait((gone,), timeout=delay_ms / 1000)
        gone.cancel()
        return not done
