"""One gateway's credentials in a process: read, renewed and replaced in the background, so that sending never waits.

access()  ── nothing yet: WAITING ──▶ READY ── before its end: renewed meanwhile ──▶ READY …
│                    └─ the gateway refused it (`renew`): WAITING ──▶ READY, generation + 1
├─ not to be had for PATIENCE_S: UNAVAILABLE (the lane rests), attempts go on
└─ the secret is unusable, or refused: REFUSED (the run stops)
"""

import enum
import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from notifier.gateway.secrets import BadSecret, CredentialsRefused, CredentialsUnavailable, ReadSecret, Secret
from notifier.model.outcome import Access, Readiness

PATIENCE_S = 30.0
"""How long a hop waits for credentials, at the cost of its billed time; then the lane rests."""
REST_S, LONGEST_REST_S = 60.0, 600.0
"""The bounds of that rest, which is as long as credentials have been missing."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Between two attempts to fetch them; doubling."""
CLOCK_TOLERANCE_S = 5.0
"""A grant that was made further in the future is not used: the clock was set back, and the gateway would refuse it."""

log = logging.getLogger(__name__)


class Grant(msgspec.Struct, frozen=True):
    """An authorization line and its times, in seconds since the epoch. Its repr shows no token."""

    header: str
    made_at_s: float
    renew_at_s: float
    good_until_s: float
    keep_until_s: float = 0.0
    """Until then no new one is made of the same secret: APNs allows one in 20 minutes."""

    def is_good(self, now_s: float) -> bool:
        """Whether requests may carry it."""
        return self.made_at_s - CLOCK_TOLERANCE_S <= now_s < self.good_until_s

    def __repr__(self) -> str:
        return f"Grant(…, good_until_s={self.good_until_s})"


class Credentials(Protocol):
    """What one secret holds, and how an authorization line is made of it (`auth` of both gateways)."""

    ADVICE: str
    """What to look at when the gateway refuses them."""

    def grant(self, now_s: float) -> Grant:
        """Make a new authorization line. Blocks. Raises CredentialsRefused, CredentialsUnavailable."""
        ...


C = TypeVar("C", bound=Credentials)


class _Why(enum.Enum):
    """Why credentials are fetched in the background."""

    FIRST = "first"
    """There is nothing yet."""
    EXPIRES = "expires"
    """The authorization line is about to expire."""
    REFUSED = "refused"
    """The gateway does not take it: the key may have been replaced in the secret."""
    LOOK = "look"
    """A hop begins: a secret that was replaced meanwhile is used from now on."""


class _Current(NamedTuple, Generic[C]):
    """A secret, the credentials in it, and the authorization line made of them."""

    secret: Secret
    credentials: C
    grant: Grant


class _Fetch(NamedTuple):
    """A call under way in the background. `looks`: how many hops had begun when it was made."""

    task: Future[Any]
    why: _Why
    looks: int


class RefreshableCredentials(Generic[C]):
    """One gateway's credentials, one per process: an APNs token serves every connection of the process.

    Everything is called from one thread; only `_obtain` runs in the background.

    Args:
        read: reads the secret; blocks.
        make: makes the credentials of a secret. Raises BadSecret.
        background: where blocking calls are made.
        clock: seconds since the epoch.
    """

    def __init__(
        self, read: ReadSecret, make: Callable[[Secret], C], background: Executor, clock: Callable[[], float]
    ) -> None:
        self._read = read
        self._make = make
        self._background = background
        self._clock = clock
        self._current: _Current[C] | None = None
        self._task: _Fetch | None = None
        self._is_refused = False
        """The gateway refused the authorization line, and there is no other yet."""
        self._is_out = False
        """They could not be had for `PATIENCE_S` in this hop."""
        self._looks = self._looked = 0
        """How many hops have begun, and which of them the secret was last read for."""
        self._attempt_at_s = self._pause_s = 0.0
        """No attempt before this time; the pause that led to it."""
        self._without_since_s: float | None = None
        self._trouble = ""
        self._refusal = ""
        self.advice = ""
        """What to look at when the gateway refuses the credentials: names the secret."""
        self.generation = 0
        """Counts renewals that the gateway caused, and replaced secrets: it has to judge those afresh."""

    @property
    def current(self) -> C:
        """The credentials. Only while `access` says READY."""
        return self._ready.credentials

    def header(self, now_s: float) -> str:
        """The authorization line. Only while `access` says READY."""
        return self._ready.grant.header

    @property
    def _ready(self) -> _Current[C]:
        if self._current is None:
            raise RuntimeError("there are no credentials yet")
        return self._current

    def renew(self) -> None:
        """The gateway refuses the authorization line: read the secret again, and make a new line."""
        self._is_refused = True

    def look_again(self) -> None:
        """A hop begins: read the secret again, also after it was refused or out of reach."""
        self._looks += 1
        self._is_out = False
        self._refusal = ""
        self._attempt_at_s = self._pause_s = 0.0

    def access(self, now_s: float) -> Access:
        """Whether the gateway can be asked now. Never blocks: what is missing is fetched in the background."""
        self._take_in(now_s)
        # Kept until the next hop begins (`look_again`): asking again would refuse every push in the same way.
        if self._refusal:
            return Access(Readiness.REFUSED, self._refusal)
        # One attempt at a time. It goes on while the present line is good, so that an expiry is never waited for.
        why = self._needs(now_s)
        if why is not None and self._task is None and now_s >= self._attempt_at_s:
            self._task = _Fetch(self._background.submit(self._obtain, why, self._current), why, self._looks)
        if self._is_usable(now_s):
            self._without_since_s, self._is_out = None, False
            return Access(Readiness.READY)
        return self._waiting(now_s)

    # -- states -------------------------------------------------------------------------------------------------------

    def _needs(self, now_s: float) -> _Why | None:
        current = self._current
        if current is None:
            return _Why.FIRST
        if self._is_refused:
            return _Why.REFUSED
        # A hop has begun since the secret was last read: an operator may have replaced it.
        if self._looked < self._looks:
            return _Why.LOOK
        is_due = now_s >= current.grant.renew_at_s or not current.grant.is_good(now_s)
        return _Why.EXPIRES if is_due else None

    def _is_usable(self, now_s: float) -> bool:
        current = self._current
        # A hop waits for its look at the secret: with a replaced one its first pushes would be refused.
        if current is None or self._is_refused or self._looked != self._looks:
            return False
        return current.grant.is_good(now_s)

    def _waiting(self, now_s: float) -> Access:
        if self._without_since_s is None or now_s < self._without_since_s:  # or the clock was put back
            self._without_since_s = now_s
        without_s = now_s - self._without_since_s
        # An attempt under way is waited for, whatever the time: its calls have time-outs of their own.
        if self._is_out or (without_s >= PATIENCE_S and self._task is None):
            self._is_out = True
            rest_s = min(max(without_s, REST_S), LONGEST_REST_S)
            # Not before the next attempt, which a gateway's `Retry-After` may have put off.
            return Access(Readiness.UNAVAILABLE, self._trouble, max(now_s + rest_s, self._attempt_at_s))
        return Access(Readiness.WAITING, self._trouble)

    # -- the background -----------------------------------------------------------------------------------------------

    def _take_in(self, now_s: float) -> None:
        """Collect what the background has fetched, if it is done."""
        if self._task is None or not self._task.task.done():
            return
        fetch, self._task = self._task, None
        try:
            got: _Current[C] = fetch.task.result()
        except Exception as error:  # noqa: BLE001 - `_fail` sorts them
            # A fetch of an earlier hop proves nothing about a secret that was corrected since.
            if fetch.looks == self._looks:
                self._fail(error, fetch, now_s)
        else:
            self._replace(got, fetch)

    def _fail(self, error: Exception, fetch: _Fetch, now_s: float) -> None:
        match error:
            case CredentialsUnavailable():
                self._put_off(error, fetch, now_s)
            case BadSecret() | CredentialsRefused():
                self._refuse(str(error))
            case _:
                # A fault of ours. Only its class: the error's own text may quote the key.
                log.error("credentials: unexpected: %s", type(error).__name__)
                self._refuse("credentials could not be made, for an unexpected reason: the log has its name")

    def _refuse(self, reason: str) -> None:
        # Without credentials: the next look makes them from the secret, and compares nothing with these.
        self._current, self._refusal, self._is_refused = None, reason, False

    def _replace(self, got: _Current[C], fetch: _Fetch) -> None:
        is_replaced = self._current is not None and not got.secret.same_as(self._current.secret)
        # A renewal because of its age is no new generation: the gateway never doubted those credentials.
        if fetch.why is _Why.REFUSED or is_replaced:
            self.generation += 1
        if fetch.why is _Why.REFUSED:
            self._is_refused = False
        if fetch.why is not _Why.EXPIRES:  # the secret was read
            self._looked = fetch.looks
        self._current = got
        self.advice = f"{got.secret.label}: {got.credentials.ADVICE}"
        self._attempt_at_s = self._pause_s = 0.0

    def _put_off(self, error: CredentialsUnavailable, fetch: _Fetch, now_s: float) -> None:
        """Nothing could be fetched: the credentials stay as long as they are good, and another attempt follows."""
        self._trouble = str(error)
        self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        # A `Retry-After` is kept, but no longer than a rest: a wrong one must not stop the run for a day.
        pause_s = max(self._pause_s, min(error.retry_after_s, LONGEST_REST_S))
        self._attempt_at_s = now_s + pause_s
        # A secret that cannot be read again is no reason to stop using the one that works.
        if fetch.why is _Why.LOOK:
            self._looked = fetch.looks
        log.warning("credentials: %s; next attempt in %.0f s", error, pause_s)

    def _obtain(self, why: _Why, current: "_Current[C] | None") -> "_Current[C]":
        """Fetch the credentials that are to be used from now on. Runs in a thread."""
        if current is None:
            return self._from(self._read())
        # The secret is not read for this: a new line of the same key is enough.
        if why is _Why.EXPIRES:
            try:
                return current._replace(grant=current.credentials.grant(self._clock()))
            except CredentialsRefused:
                # The key was withdrawn; a new one may be in the secret already.
                secret = self._read()
                if secret.same_as(current.secret):
                    raise
                return self._from(secret)
        secret = self._read()
        if not secret.same_as(current.secret):
            return self._from(secret)
        now_s = self._clock()
        # The same secret. A hop only looks; and a refused line that is too young may not be replaced yet (APNs).
        if why is _Why.LOOK or (current.grant.is_good(now_s) and now_s < current.grant.keep_until_s):
            return current
        return current._replace(grant=current.credentials.grant(now_s))

    def _from(self, secret: Secret) -> "_Current[C]":
        credentials = self._make(secret)
        return _Current(secret, credentials, credentials.grant(self._clock()))
