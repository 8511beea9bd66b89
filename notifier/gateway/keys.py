"""One gateway's credentials in a process: read, renewed and replaced in the background, so that sending never waits.

access()  ── nothing yet: WAITING ──▶ READY ── before its end: renewed meanwhile ──▶ READY …
│                    └─ the gateway refused it (`renew`): WAITING ──▶ READY, generation + 1
├─ nobody can be asked for PATIENCE_S: UNAVAILABLE (the lane rests), attempts go on
└─ the secret is no good, or refused: REFUSED (the run stops)
"""

import enum
import logging
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from notifier.gateway.secrets import BadSecret, CredentialsRefused, CredentialsUnavailable, ReadSecret, Secret
from notifier.model.background import Background, Task
from notifier.model.outcome import Access, Readiness

PATIENCE_S = 30.0
"""So long credentials are waited for, paid; then the lane rests."""
REST_S, LONGEST_REST_S = 60.0, 600.0
"""How long it rests: as long as the trouble has lasted, within these."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Between two attempts; doubling."""
CLOCK_TOLERANCE_S = 5.0
"""A clock that was put back further makes a grant worthless: its time would begin in the future."""

log = logging.getLogger(__name__)


class Grant(msgspec.Struct, frozen=True):
    """An authorization line and its times, in seconds since the epoch. Its repr shows no token."""

    header: str
    made_at_s: float
    renew_at_s: float
    good_until_s: float
    keep_until_s: float = 0.0
    """Before this a new one of the same secret is not asked for: APNs allows one in 20 minutes."""

    def is_good(self, now_s: float) -> bool:
        """Whether requests may carry it."""
        return self.made_at_s - CLOCK_TOLERANCE_S <= now_s < self.good_until_s

    def __repr__(self) -> str:
        return f"Grant(…, good_until_s={self.good_until_s})"


class Credentials(Protocol):
    """What one secret gives (`notifier.gateway.fcm.auth`, `notifier.gateway.apns.auth`)."""

    ADVICE: str
    """What to look at when the gateway refuses them."""

    def grant(self, now_s: float) -> Grant:
        """A fresh authorization line. Blocks. Raises CredentialsRefused, CredentialsUnavailable."""
        ...


C = TypeVar("C", bound=Credentials)


class _Why(enum.Enum):
    """What the background is asked for."""

    FIRST = "first"
    """There is nothing yet."""
    EXPIRES = "expires"
    """The authorization line is nearly over."""
    REFUSED = "refused"
    """The gateway does not take it: the key may have been replaced in the secret."""
    LOOK = "look"
    """A hop begins: whatever was replaced in the secret meanwhile is used from now on."""


class _Held(NamedTuple, Generic[C]):
    secret: Secret
    credentials: C
    grant: Grant


class _Asked(NamedTuple):
    """A call under way. `looks`: how many hops had begun when it was made."""

    task: Task[Any]
    why: _Why
    looks: int


class Keys(Generic[C]):
    """One gateway's credentials, one per process: an APNs token serves every connection of the process.

    Everything is called from one thread; only `_obtain` runs in the background.

    Args:
        read: reads the secret; blocks.
        make: makes the credentials of a secret. Raises BadSecret.
        background: where blocking calls are made.
        clock: seconds since the epoch.
    """

    def __init__(
        self, read: ReadSecret, make: Callable[[Secret], C], background: Background, clock: Callable[[], float]
    ) -> None:
        self._read = read
        self._make = make
        self._background = background
        self._clock = clock
        self._held: _Held[C] | None = None
        self._task: _Asked | None = None
        self._is_refused = self._is_out = False
        self._looks = self._looked = 0
        self._attempt_at_s = self._pause_s = 0.0
        self._without_since_s: float | None = None
        self._trouble = ""
        self._refusal = ""
        self.advice = ""
        """What to look at when the gateway refuses the credentials: names the secret."""
        self.generation = 0
        """Counts what the gateway has to judge anew: renewals that it caused, and replaced secrets."""

    @property
    def current(self) -> C:
        """The credentials. Only for whoever was told that they are READY."""
        return self._ready.credentials

    def header(self, now_s: float) -> str:
        """The authorization line. Only for whoever was told that it is READY."""
        return self._ready.grant.header

    @property
    def _ready(self) -> _Held[C]:
        if self._held is None:
            raise RuntimeError("there are no credentials yet")
        return self._held

    def renew(self) -> None:
        """The gateway refuses the authorization line: read the secret again, and get a new line."""
        self._is_refused = True

    def look_again(self) -> None:
        """A hop begins: read the secret again, try again what was refused or out of reach."""
        self._looks += 1
        self._is_out = False
        self._refusal = ""
        self._attempt_at_s = self._pause_s = 0.0

    def access(self, now_s: float) -> Access:
        """Whether the gateway can be asked now. Never blocks: begins in the background what is needed for it."""
        self._take_in(now_s)
        if self._refusal:
            return Access(Readiness.REFUSED, self._refusal)
        why = self._needs(now_s)
        if why is not None and self._task is None and now_s >= self._attempt_at_s:
            self._task = _Asked(self._background.submit(self._obtain, why, self._held), why, self._looks)
        if self._is_usable(now_s):
            self._without_since_s, self._is_out = None, False
            return Access(Readiness.READY)
        return self._waiting(now_s)

    # -- states -------------------------------------------------------------------------------------------------------

    def _needs(self, now_s: float) -> _Why | None:
        held = self._held
        if held is None:
            return _Why.FIRST
        if self._is_refused:
            return _Why.REFUSED
        if self._looked < self._looks:
            return _Why.LOOK
        is_due = now_s >= held.grant.renew_at_s or not held.grant.is_good(now_s)
        return _Why.EXPIRES if is_due else None

    def _is_usable(self, now_s: float) -> bool:
        held = self._held
        return held is not None and held.grant.is_good(now_s) and not self._is_refused and self._looked == self._looks

    def _waiting(self, now_s: float) -> Access:
        if self._without_since_s is None or now_s < self._without_since_s:
            self._without_since_s = now_s
        without_s = now_s - self._without_since_s
        # While the first attempt of a hop is under way its end is waited for; the calls in it have limits of their own.
        if self._is_out or (without_s >= PATIENCE_S and self._task is None):
            self._is_out = True
            rest_s = min(max(without_s, REST_S), LONGEST_REST_S)
            return Access(Readiness.UNAVAILABLE, self._trouble, max(now_s + rest_s, self._attempt_at_s))
        return Access(Readiness.WAITING, self._trouble)

    # -- the background -----------------------------------------------------------------------------------------------

    def _take_in(self, now_s: float) -> None:
        """What the background has come to."""
        if self._task is None or not self._task.task.done():
            return
        asked, self._task = self._task, None
        try:
            got: _Held[C] = asked.task.result()
        except Exception as error:  # noqa: BLE001 - `_fail` tells them apart
            # What was asked for by an earlier hop says nothing about a secret that was corrected since.
            if asked.looks == self._looks:
                self._fail(error, asked, now_s)
        else:
            self._hold(got, asked)

    def _fail(self, error: Exception, asked: _Asked, now_s: float) -> None:
        match error:
            case CredentialsUnavailable():
                self._put_off(error, asked, now_s)
            case BadSecret() | CredentialsRefused():
                self._refuse(str(error))
            case _:
                # A fault of ours. The error's own words may quote the key.
                log.error("credentials: not foreseen: %s", type(error).__name__)
                self._refuse("credentials could not be made, for a reason that nobody foresaw: the log has its name")

    def _refuse(self, reason: str) -> None:
        self._held, self._refusal, self._is_refused = None, reason, False

    def _hold(self, got: _Held[C], asked: _Asked) -> None:
        is_replaced = self._held is not None and not got.secret.same_as(self._held.secret)
        if asked.why is _Why.REFUSED or is_replaced:
            self.generation += 1
        if asked.why is _Why.REFUSED:
            self._is_refused = False
        if asked.why is not _Why.EXPIRES:  # the secret was read
            self._looked = asked.looks
        self._held = got
        self.advice = f"{got.secret.label}: {got.credentials.ADVICE}"
        self._attempt_at_s = self._pause_s = 0.0

    def _put_off(self, error: CredentialsUnavailable, asked: _Asked, now_s: float) -> None:
        """Without an answer known credentials stay, as long as they are good; else another attempt follows."""
        self._trouble = str(error)
        self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        pause_s = max(self._pause_s, min(error.retry_after_s, LONGEST_REST_S))
        self._attempt_at_s = now_s + pause_s
        if asked.why is _Why.LOOK:
            self._looked = asked.looks
        log.warning("credentials: %s; next attempt in %.0f s", error, pause_s)

    def _obtain(self, why: _Why, held: "_Held[C] | None") -> "_Held[C]":
        """Runs in a thread: the credentials that are to be used from now on."""
        if held is None:
            return self._from(self._read())
        if why is _Why.EXPIRES:
            try:
                return held._replace(grant=held.credentials.grant(self._clock()))
            except CredentialsRefused:
                # The key was withdrawn; a new one may be in the secret already.
                secret = self._read()
                if secret.same_as(held.secret):
                    raise
                return self._from(secret)
        secret = self._read()
        if not secret.same_as(held.secret):
            return self._from(secret)
        now_s = self._clock()
        if why is _Why.LOOK or (held.grant.is_good(now_s) and now_s < held.grant.keep_until_s):
            return held
        return held._replace(grant=held.credentials.grant(now_s))

    def _from(self, secret: Secret) -> "_Held[C]":
        credentials = self._make(secret)
        return _Held(secret, credentials, credentials.grant(self._clock()))
