"""How much one invocation may write into its trace, and what is worth it."""

import threading

EARLY = 6
"""Of each name the first few are kept,"""
FAULTY = 10
"""and the first few that failed,"""
SLOW = 6
"""and a few that were slower than every one before; of all others every second, fourth, eighth, sixteenth…"""


class Budget:
    """One invocation's room for documents. Used by several threads."""

    def __init__(self, documents: int, most_bytes: int) -> None:
        self._most_documents = documents
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._faulty: dict[str, int] = {}
        self._slowest: dict[str, tuple[float, int]] = {}
        self.documents = 0
        self.bytes = 0
        self.refused = 0

    def take(self, name: str, size: int, took_s: float, *, faulty: bool = False) -> bool:
        """Whether a document of this name and size may be sent."""
        with self._lock:
            return self._admit(size, wanted=self._is_wanted(name, took_s, faulty=faulty))

    def fit(self, size: int) -> bool:
        """Whether there is room for a document that somebody else has chosen."""
        with self._lock:
            return self._admit(size, wanted=True)

    def _admit(self, size: int, *, wanted: bool) -> bool:
        if not wanted or self.documents >= self._most_documents or self.bytes + size > self._most_bytes:
            self.refused += 1
            return False
        self.documents += 1
        self.bytes += size
        return True

    def note(self, size: int) -> None:
        """A document that was sent whatever the budget says."""
        with self._lock:
            self.documents += 1
            self.bytes += size

    def _is_wanted(self, name: str, took_s: float, *, faulty: bool) -> bool:
        nth = self._seen[name] = self._seen.get(name, 0) + 1
        slowest, times = self._slowest.get(name, (0.0, 0))
        is_slower = took_s > slowest
        if is_slower:
            self._slowest[name] = took_s, times + 1
        if faulty:
            failures = self._faulty[name] = self._faulty.get(name, 0) + 1
            return failures <= FAULTY or _is_power_of_two(failures)
        return nth <= EARLY or (is_slower and times < SLOW + EARLY) or _is_power_of_two(nth)


def _is_power_of_two(n: int) -> bool:
    return n & (n - 1) == 0
