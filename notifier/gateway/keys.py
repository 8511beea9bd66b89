"""Credentials that outlive their secret: read once, renewed from the secret as it is now when a gateway refuses them."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from notifier.gateway.secrets import Secret


class Headed(Protocol):
    """Credentials that give an authorization line."""

    def header(self, now_s: float) -> str: ...


C = TypeVar("C", bound=Headed)


class Keys(Generic[C]):
    """One gateway's credentials, one per process: an APNs token serves every connection of the process.

    Args:
        read: the secret; True reads it anew.
        make: credentials from a secret.
    """

    def __init__(self, read: Callable[[bool], Secret], make: Callable[[Secret], C]) -> None:
        self._read = read
        self._make = make
        self._current: C | None = None
        self.generation = 0
        """Counts the renewals."""

    @property
    def current(self) -> C:
        """The credentials in use. The first time this reads the secret, which blocks."""
        if self._current is None:
            self._current = self._make(self._read(False))
        return self._current

    def header(self, now_s: float) -> str:
        """The authorization line."""
        return self.current.header(now_s)

    def renew(self) -> None:
        """Read the secret anew and begin again with it. Blocks."""
        self._current = self._make(self._read(True))
        self.generation += 1
