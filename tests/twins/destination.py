"""A place for prepared audiences in memory, which can die at any step."""

from collections.abc import Callable
from hashlib import md5
from pathlib import Path

from notifier.model.batch_file import PinnedObject


class Killed(BaseException):
    """The process is gone: nothing after this runs, and nothing can catch it."""


class MemoryDestination:
    """Keeps objects by key.

    Args:
        before: called before each change, with its number from 0; raises where the process is to die.
        after: the same after the change.
    """

    def __init__(
        self,
        before: Callable[[int], object] = lambda _: None,
        after: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.bucket = "memory"
        self.objects: dict[str, bytes] = {}
        self.steps = 0
        self.before = before
        self.after = after

    def put(self, key: str, path: Path) -> PinnedObject:
        """Store a file."""
        data = path.read_bytes()
        self._step(lambda: self.objects.update({key: data}))
        return PinnedObject(self.bucket, key, None, md5(data, usedforsecurity=False).hexdigest(), len(data))

    def create(self, key: str, data: bytes) -> bool:
        """Store what is not there yet."""
        self._step(lambda: self.objects.setdefault(key, data))
        # Bytes are compared by identity: another attempt's may be equal.
        return self.objects[key] is data

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        """Store in place of what is there, if it is what the caller has seen."""
        if self.objects.get(key) != before:
            return False
        self._step(lambda: self.objects.update({key: data}))
        return True

    def has(self, pinned: PinnedObject) -> bool:
        """Whether these bytes are there."""
        data = self.objects.get(pinned.key)
        return data is not None and md5(data, usedforsecurity=False).hexdigest() == pinned.etag

    def read(self, key: str) -> bytes | None:
        """An object's bytes."""
        return self.objects.get(key)

    def _step(self, change: Callable[[], object]) -> None:
        number = self.steps
        self.steps += 1
        self.before(number)
        change()
        self.after(number)
