"""A carrier: one endpoint's knowledge, put together. What differs between FCM and APNs comes as a `Gateway`."""

from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any, NamedTuple, Protocol

from notifier.content.render import Wording
from notifier.gateway.credentials import RefreshableCredentials
from notifier.gateway.payload import Label
from notifier.model.exchange import Answer, Request
from notifier.model.outcome import Access, Disposition, Verdict
from notifier.sending.batch import Push
from notifier.sending.carrier import DRY_RUN, Ticket

NAMESPACE = bytes.fromhex("8a0e0f6f3d5c5b9d9a3e5c1b7d2f4e60")
"""The namespace of push ids: uuid5 of it and `run:record:device`. Public: an id can be recomputed from a row."""

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""A UUID's 17th digit says whose kind it is (https://www.rfc-editor.org/rfc/rfc9562#section-4.1)."""

TOO_LARGE = Verdict(Disposition.REJECT, "too_large")
NOT_SENT = Verdict(Disposition.ACCEPT, DRY_RUN)


class Prepared(Protocol):
    """A message of one arm in one language, encoded (`message.Prepared` of `notifier.gateway.fcm` and `.apns`)."""

    def body(self, token: str, texts: Sequence[str], now_s: float, limit_s: int | None = None) -> bytes:
        """The request's body for one device; `texts` fill the message's slots.

        Args:
            limit_s: the gateway is to keep the push for so many seconds at most; None for the message's time to live.
        """
        ...

    def headers(self, push_id: str, authorization: str, now_s: float, limit_s: int | None = None) -> list[str]:
        """The request's headers as wire lines. `limit_s` as for the body."""
        ...

    def is_too_large(self, body: bytes, texts: Sequence[str]) -> bool:
        """Whether the gateway would refuse it for its size."""
        ...


class Gateway(NamedTuple):
    """What differs between the gateways (`notifier.gateway.fcm.carrier`, `notifier.gateway.apns.carrier`)."""

    prepare: Callable[[Wording, Label], Prepared]
    """Encodes a wording. Called when the credentials are there: it may need the project or the topic of the secret."""
    path: Callable[[str], str]
    """The request's path for a token."""
    judge: Callable[[Answer], Verdict]
    max_payload_bytes: int
    """Bodies up to this size fit; larger ones are measured more exactly."""
    takes_push_ids: bool
    """The gateway is given each push's id (`apns-id`)."""
    can_validate: bool
    """The gateway can check a push without sending it, so that a rehearsal asks it."""


TtlLimit = Callable[[Push, float], int]
"""How many seconds a gateway may keep a push that is asked for now, at most."""


class RunContent(NamedTuple):
    """What a run sends. `wording_of` gives the message of an (arm, locale); a rehearsal must reach no phone.

    `ttl_limit` is there where quiet hours cut the time to live.
    """

    run_id: str
    campaign_id: str
    wording_of: Callable[[tuple[str, str]], Wording]
    is_rehearsal: bool = False
    ttl_limit: TtlLimit | None = None


class GatewayCarrier:
    """Asks one endpoint and judges its answers.

    Args:
        endpoint: the transport's name for it: `fcm`, `apns`, `apns-sandbox`.
    """

    def __init__(self, endpoint: str, gateway: Gateway, keys: RefreshableCredentials[Any], content: RunContent) -> None:
        self._endpoint = endpoint
        self._gateway = gateway
        self._keys = keys
        self._content = content
        self._asks = gateway.can_validate or not content.is_rehearsal
        self._ready: dict[tuple[str, str], Prepared] = {}
        self._ttl_s: dict[str, float | None] = {}
        self._hashed = _hashed(f"{content.run_id}:")
        """The part of each push's name that is the run's, hashed once: 0.4 of 1.2 µs less for each id."""

    def access(self, now_s: float) -> Access:
        """Whether the endpoint can be asked. Never blocks; what is missing is fetched in the background."""
        return self._keys.access(now_s)

    def ask(self, push: Push, now_s: float) -> Request | Verdict:
        """The request for a push, or a verdict when there is nothing to ask. Only while `access` says READY.

        Sets `push.asked_as` where the gateway takes an id for each push.
        """
        if push.is_control:
            raise ValueError("a device of the control group is never asked for")
        texts = push.texts
        prepared = self._ready.get(texts.key) or self._prepare(texts.key)
        # A rehearsal that asks nothing needs no credentials.
        authorization = self._keys.header(now_s) if self._asks else ""
        token, gateway = push.device.token, self._gateway
        limit_s = self._content.ttl_limit(push, now_s) if self._content.ttl_limit else None
        body = prepared.body(token, texts.texts, now_s, limit_s)
        # Two steps: the exact size costs a second encoding with FCM, and hardly any push comes near the limit.
        if len(body) > gateway.max_payload_bytes and prepared.is_too_large(body, texts.texts):
            return TOO_LARGE
        # After the size check: a rehearsal reports pushes that are too large.
        if not self._asks:
            return NOT_SENT
        # Made at the first request: the id stays the same at each later one, and its row has it.
        if gateway.takes_push_ids and push.asked_as is None:
            push.asked_as = self._push_id(push)
        return Request(
            endpoint=self._endpoint,
            path=gateway.path(token),
            headers=prepared.headers(push.asked_as or "", authorization, now_s, limit_s),
            body=body,
            # The generation that `authorization` is of: when it is refused, a renewal meanwhile is not blamed.
            ticket=Ticket(push, self._keys.generation),
        )

    def judge(self, answer: Answer) -> Verdict:
        """What an answer means. In a rehearsal an acceptance is reported as `dry_run`: no phone was reached."""
        verdict = self._gateway.judge(answer)
        if self._content.is_rehearsal and verdict.disposition is Disposition.ACCEPT:
            return NOT_SENT
        return verdict

    def ttl_s(self, arm: str) -> float | None:
        """The time to live of an arm's message in seconds; None where the message states none."""
        # Kept by arm, because it is asked for at every refusal.
        if arm not in self._ttl_s:
            ttl_s = self._content.wording_of((arm, "")).message.ttl_s
            self._ttl_s[arm] = float(ttl_s) if isinstance(ttl_s, int) else None
        return self._ttl_s[arm]

    def renew(self) -> None:
        """Read the secret again and renew the credentials, in the background: `access` says when that is done."""
        self._keys.renew()

    @property
    def generation(self) -> int:
        """Counts the renewals that the gateway has to judge afresh."""
        return self._keys.generation

    @property
    def advice(self) -> str:
        """What the run's operator should check when the credentials are refused."""
        return self._keys.advice

    def _push_id(self, push: Push) -> str:
        """As `push_id` of its name."""
        state = self._hashed.copy()
        state.update(b"%d:%d" % (push.record, push.number))
        return _uuid(state.hexdigest())

    def _prepare(self, key: tuple[str, str]) -> Prepared:
        """Encode a wording, once for each arm and language."""
        content = self._content
        wording = content.wording_of(key)
        prepared = self._gateway.prepare(wording, Label(content.run_id, content.campaign_id, wording.arm))
        self._ready[key] = prepared
        return prepared


def push_id(name: str) -> str:
    """The push's UUID, version 5, in lower case: the same however often it is asked for."""
    return _uuid(_hashed(name).hexdigest())


def _hashed(name: str) -> Any:
    return sha1(NAMESPACE + name.encode(), usedforsecurity=False)


def _uuid(text: str) -> str:
    """`uuid.uuid5` by hand, of the hash: position 12 is the version, 16 the variant."""
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"
