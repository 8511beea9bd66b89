"""Credentials that are made when a push first needs them: a stack without an iOS app needs no APNs secret."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Renewable(Protocol):
    """Credentials (`notifier.gateway.fcm.auth`, `notifier.gateway.apns.auth`)."""

    generation: int

    def header(self, now_s: float) -> str: ...
    def renew(self) -> None: ...


C = TypeVar("C", bound=Renewable)


class Keys(Generic[C]):
    """One gateway's credentials, one per process: an APNs token serves every connection of the process.

    Args:
        make: reads the secret and makes the credentials; blocks.
    """

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._made: C | None = None

    @property
    def current(self) -> C:
        """The credentials. The first time this reads the secret, which blocks. Raises what making them raises."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def forget(self) -> None:
        """The secret has changed: make them anew when they are next needed."""
        self._made = None

    @property
    def generation(self) -> int:
        """Counts the renewals."""
        return self._made.generation if self._made else 0

    def header(self, now_s: float) -> str:
        """The authorization line."""
        return self.current.header(now_s)

    def renew(self) -> None:
        """Read the secret anew and begin again with it. Blocks."""
        self.current.renew()
