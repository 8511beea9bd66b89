"""Limits the documents that one invocation writes into its trace, and chooses them: early, slow and failed ones."""

import threading

EARLY = 6
"""Documents of each name that are always kept, from the first on."""
FAULTY = 10
"""Failed documents of each name that are always kept."""
SLOW = 6
"""Documents of each name, beyond the early ones, that are kept because they are slower than every one before.

Of all others the 2nd, 4th, 8th, 16th… is kept: a sample whose size grows only with the logarithm of their number.
"""


class Budget:
    """What one invocation may still write: a number of documents and of bytes. Safe for several threads."""

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
        """Whether a document of this name is to be sent: it is one of those to keep, and fits. Counts it if so."""
        with self._lock:
            return self._admit(size, wanted=self._is_wanted(name, took_s, faulty=faulty))

    def fit(self, size: int) -> bool:
        """Whether a document that the caller has chosen fits. Counts it if so."""
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
        """Count a document that is sent whatever the budget says."""
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
        # Early ones are kept anyway, and each may be the slowest so far: they must not use up what is for slow ones.
        return nth <= EARLY or (is_slower and times < SLOW + EARLY) or _is_power_of_two(nth)


def _is_power_of_two(n: int) -> bool:
    return n & (n - 1) == 0
