"""What the stand-ins count for themselves, so that a sender's own figures can be checked against them."""

import time
from array import array
from collections import Counter
from typing import Any

import msgspec

ARRIVALS_PER_S = 50
"""Requests are counted by when they arrived, in steps of 20 ms."""
_SHARDS = 256
_SLOTS_AT_FIRST = 16
_SLOT_BYTES = 8
# A slot's 64 bits, from the top: 54 of the hash, 6 of `asked`, 4 of `accepted`. 0 is a free slot.
_ACCEPTED_BITS = 4
_ACCEPTED_MAX = 15
_ASKED = 1 << _ACCEPTED_BITS
_ASKED_MAX = 63
_COUNT_BITS = 10
_COUNT_MASK = (1 << _COUNT_BITS) - 1
_HASH_MASK = ((1 << 64) - 1) ^ _COUNT_MASK
_HASH_OF_ZERO = 1 << 63
"""Stored in the place of a hash whose 54 bits are all zero, which would read as a free slot."""
_PLACE_SHIFT = 20
"""The bits of the hash from here on choose a slot in a shard; the lowest eight choose the shard."""


class TokenTable:
    """How often each token was asked for and accepted, in 8 bytes a token (16 to 32 with the free slots).

    A slot holds 54 bits of the token's hash, 6 bits of `asked` (saturating at 63) and 4 of `accepted` (at 15). Two of
    ten million tokens share a hash once in about 360 runs. 256 small tables grow one by one, so that none stalls.
    """

    def __init__(self) -> None:
        self._slots = [array("Q", bytes(_SLOT_BYTES * _SLOTS_AT_FIRST)) for _ in range(_SHARDS)]
        self._used = [0] * _SHARDS
        self.distinct = 0
        self.repeated = 0
        self.accepted = 0
        self.accepted_again = 0

    def ask(self, token: str) -> int:
        """Counts one request for the token; returns its attempt number, from 1."""
        shard, index, key = self._find(token)
        slots = self._slots[shard]
        slot = slots[index]
        if not slot:
            slots[index] = key | _ASKED
            self.distinct += 1
            self._grow_if_full(shard)
            return 1
        asked = (slot & _COUNT_MASK) >> _ACCEPTED_BITS
        if asked == 1:
            self.repeated += 1
        if asked < _ASKED_MAX:
            slots[index] = slot + _ASKED
            asked += 1
        return asked

    def accept(self, token: str) -> None:
        """Counts one push that was processed for a token that was asked for."""
        shard, index, _ = self._find(token)
        slot = self._slots[shard][index]
        if not slot:
            return
        accepted = slot & _ACCEPTED_MAX
        if accepted == 0:
            self.accepted += 1
        elif accepted == 1:
            self.accepted_again += 1
        if accepted < _ACCEPTED_MAX:
            self._slots[shard][index] = slot + 1

    def _find(self, token: str) -> tuple[int, int, int]:
        """The token's shard, its slot or the free one where it belongs, and its hash as stored."""
        whole = hash(token)
        shard = whole & (_SHARDS - 1)
        key = (whole & _HASH_MASK) or _HASH_OF_ZERO
        slots = self._slots[shard]
        mask = len(slots) - 1
        index = (whole >> _PLACE_SHIFT) & mask
        while (slot := slots[index]) and slot & _HASH_MASK != key:
            index = (index + 1) & mask
        return shard, index, key

    def _grow_if_full(self, shard: int) -> None:
        """Doubles a shard that is half full, so that free slots stay near."""
        self._used[shard] += 1
        old = self._slots[shard]
        if self._used[shard] * 2 <= len(old):
            return
        new = array("Q", bytes(2 * _SLOT_BYTES * len(old)))
        mask = len(new) - 1
        for slot in old:
            if slot:
                index = (slot >> _PLACE_SHIFT) & mask
                while new[index]:
                    index = (index + 1) & mask
                new[index] = slot
        self._slots[shard] = new


class GatewayCounts:
    """One gateway's figures. Single-threaded: only the server's loop writes here."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all but the requests still being answered."""
        self.requests = 0
        self.validate_only = 0
        self.unanswered = 0
        self.in_flight = getattr(self, "in_flight", 0)
        self.max_in_flight = self.in_flight
        self.answers: Counter[tuple[int, str]] = Counter()
        self.arrivals: Counter[int] = Counter()
        """Requests by when they arrived: seconds since the epoch × `ARRIVALS_PER_S`."""
        self.connections: set[str] = set()
        self.early_requests = 0
        self.tokens = TokenTable()
        self.rehearsed = TokenTable()

    def arrive(self, client: str) -> int:
        """Counts a request from `address:port`; returns its number on this gateway, from 1."""
        self.requests += 1
        self.arrivals[int(time.time() * ARRIVALS_PER_S)] += 1
        self.connections.add(client)
        self.in_flight += 1
        if self.in_flight > self.max_in_flight:
            self.max_in_flight = self.in_flight
        return self.requests

    def as_json(self) -> dict[str, Any]:
        """The figures as `/counts` shows them."""
        tokens = self.tokens
        return {
            "requests": self.requests,
            "distinct_tokens": tokens.distinct,
            "repeated_tokens": tokens.repeated,
            "accepted_tokens": tokens.accepted,
            "accepted_again_tokens": tokens.accepted_again,
            "validate_only": self.validate_only,
            "unanswered": self.unanswered,
            "connections": len(self.connections),
            "early_requests": self.early_requests,
            "max_in_flight": self.max_in_flight,
            "answers": {f"{status} {reason}".strip(): n for (status, reason), n in sorted(self.answers.items())},
        }


class GatewayFigures(msgspec.Struct, frozen=True):
    """One gateway's figures as read from `/counts`. Counts, all of them; no units needed.

    - `distinct_tokens`, `repeated_tokens`: tokens asked for, and asked for more than once, outside validate_only. A
      request refused before its token was looked at (credentials, headers, payload) does not count as asking.
    - `accepted_tokens`, `accepted_again_tokens`: tokens answered 200, and answered 200 more than once: true duplicates.
    - `unanswered`: requests whose client was gone before the answer.
    - `connections`: client ports seen. `max_in_flight`: requests being answered at one time.
    - `early_requests` (APNs): requests beside another one on a connection that had not yet had its first answer.
    - `answers`: by status and reason, such as `"410 Unregistered"`.
    """

    requests: int
    distinct_tokens: int
    repeated_tokens: int
    accepted_tokens: int
    accepted_again_tokens: int
    validate_only: int
    unanswered: int
    connections: int
    early_requests: int
    max_in_flight: int
    answers: dict[str, int]


class OAuthFigures(msgspec.Struct, frozen=True):
    """The OAuth stand-in's figures: requests, tokens issued, and answers by status and reason."""

    requests: int
    issued: int
    answers: dict[str, int]


class ProcessFigures(msgspec.Struct, frozen=True):
    """What the stand-ins' process has used since its start: CPU seconds, and its largest memory in MB."""

    cpu_s: float
    max_rss_mb: float


class Figures(msgspec.Struct, frozen=True):
    """All that `/counts` says."""

    fcm: GatewayFigures
    apns: GatewayFigures
    apns_sandbox: GatewayFigures
    oauth: OAuthFigures
    process: ProcessFigures
