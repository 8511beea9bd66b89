"""A carrier: one endpoint's knowledge, put together. What differs between FCM and APNs is handed in as functions."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from typing import Protocol

from notifier.content.render import Wording
from notifier.gateway.payload import Label
from notifier.gateway.transport import Answer, Request
from notifier.model.outcome import Access, Disposition, Verdict
from notifier.sending.batch import Push

NAMESPACE = bytes.fromhex("8a0e0f6f3d5c5b9d9a3e5c1b7d2f4e60")
"""The namespace of push ids: uuid5 of it and `run:record:device`. Public: an id can be recomputed from a row."""

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""A UUID's 17th digit says whose kind it is (https://www.rfc-editor.org/rfc/rfc9562#section-4.1)."""

TOO_LARGE = Verdict(Disposition.REJECT, "too_large")
DRY_RUN = Verdict(Disposition.ACCEPT, "dry_run")


class Prepared(Protocol):
    """A message of one arm in one language (`notifier.gateway.fcm.message`, `notifier.gateway.apns.message`)."""

    def body(self, token: str, texts: Sequence[str], now_s: float) -> bytes: ...
    def headers(self, push_id: str, authorization: str, now_s: float) -> list[str]: ...
    def is_too_large(self, body: bytes, texts: Sequence[str]) -> bool: ...


class Credentials(Protocol):
    """What opens the gateway (`notifier.gateway.keys`)."""

    def access(self, now_s: float) -> Access: ...
    def header(self, now_s: float) -> str: ...
    def renew(self) -> None: ...
    @property
    def generation(self) -> int: ...
    @property
    def advice(self) -> str: ...


class GatewayCarrier:
    """Asks one endpoint and judges its answers.

    Args:
        endpoint: the transport's name for it.
        wording_of: the message behind the key of some words.
        prepare: makes a wording ready for this gateway.
        path_of: the request's path for a token.
        judge: the gateway's verdict on an answer.
        max_payload_bytes: bodies up to this size are not looked at closer.
        takes_names: the gateway is given each push's id (`apns-id`).
        rehearse: nothing may reach a phone. `asks_when_rehearsing` says whether the gateway can validate only.
    """

    def __init__(
        self,
        endpoint: str,
        run_id: str,
        campaign_id: str,
        wording_of: Callable[[tuple[str, str]], Wording],
        prepare: Callable[[Wording, Label], Prepared],
        path_of: Callable[[str], str],
        judge: Callable[[Answer], Verdict],
        credentials: Credentials,
        max_payload_bytes: int,
        *,
        takes_names: bool,
        rehearse: bool,
        asks_when_rehearsing: bool,
    ) -> None:
        self._endpoint = endpoint
        self._run_id = run_id
        self._campaign_id = campaign_id
        self._wording_of = wording_of
        self._prepare = prepare
        self._path_of = path_of
        self._judge = judge
        self._credentials = credentials
        self._max_payload_bytes = max_payload_bytes
        self._takes_names = takes_names
        self._rehearse = rehearse
        self._asks = asks_when_rehearsing or not rehearse
        self._ready: dict[tuple[str, str], Prepared] = {}
        self.ttl_s: Mapping[str, float] = _TimeToLive(wording_of)

    def access(self, now_s: float) -> Access:
        """Whether the endpoint can be asked. Never blocks; what is missing is fetched in the background."""
        return self._credentials.access(now_s)

    def ask(self, push: Push, now_s: float) -> Request | Verdict:
        """The request for a push, or a verdict when there is nothing to ask. Only while `access` says READY."""
        words = push.words
        if words is None:
            raise ValueError("a control user is never asked for")
        prepared = self._ready.get(words.key) or self._make_ready(words.key)
        authorization = self._credentials.header(now_s) if self._asks else ""
        token = push.device.token
        body = prepared.body(token, words.texts, now_s)
        if len(body) > self._max_payload_bytes and prepared.is_too_large(body, words.texts):
            return TOO_LARGE
        if not self._asks:
            return DRY_RUN
        if self._takes_names and push.asked_as is None:
            push.asked_as = push_id(push.name)
        return Request(
            endpoint=self._endpoint,
            path=self._path_of(token),
            headers=prepared.headers(push.asked_as or "", authorization, now_s),
            body=body,
            ticket=None,
        )

    def judge(self, reply: Answer) -> Verdict:
        """What an answer means. A rehearsal's success says that it was one."""
        verdict = self._judge(reply)
        if self._rehearse and verdict.disposition is Disposition.ACCEPT:
            return DRY_RUN
        return verdict

    @property
    def generation(self) -> int:
        """Counts the renewals of the credentials."""
        return self._credentials.generation

    @property
    def advice(self) -> str:
        """What to look at when the credentials are refused."""
        return self._credentials.advice

    def renew(self) -> None:
        """Read the secret again and renew the credentials, in the background: `access` says when that is done."""
        self._credentials.renew()

    def _make_ready(self, key: tuple[str, str]) -> Prepared:
        wording = self._wording_of(key)
        prepared = self._prepare(wording, Label(self._run_id, self._campaign_id, wording.arm))
        self._ready[key] = prepared
        return prepared


class _TimeToLive(dict[str, float]):
    """By arm, found when asked for: seconds; an arm whose message does not say is absent."""

    def __init__(self, wording_of: Callable[[tuple[str, str]], Wording]) -> None:
        super().__init__()
        self._wording_of = wording_of

    def get(self, arm: str, default: float | None = None) -> float | None:  # type: ignore[override]
        found = super().get(arm)
        if found is None:
            ttl_s = self._wording_of((arm, "")).message.ttl_s
            if not isinstance(ttl_s, int):
                return default
            found = self[arm] = float(ttl_s)
        return found


def push_id(name: str) -> str:
    """The push's UUID, version 5, in lower case: the same however often it is asked for."""
    text = sha1(NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"
