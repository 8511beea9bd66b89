"""The thread that fetches a stream's parts, one part ahead of the loop that parses them."""

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from notifier.audience.cache import FileCache
from notifier.audience.download import Closed, Download
from notifier.audience.ranges import Sleep, check_unchanged, read_ranges
from notifier.model.batch_file import PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Fetcher:
    """Fetches `parts` in order, each into a `Download`; a cached part costs one conditional request.

    Args:
        start: byte of the first part to begin at; a part that begins above 0 is not cached.
        pause: waits between attempts of a failed request (seconds); the default ends early on `close`.
    """

    def __init__(
        self,
        client: "S3Client",
        parts: Sequence[PinnedObject],
        cache: FileCache | None,
        start: int = 0,
        pause: Sleep | None = None,
    ) -> None:
        self.changed = threading.Condition()
        self._client = client
        self._parts = parts
        self._cache = cache
        self._start = start
        self._closed = threading.Event()
        self._pause = pause or self._closed.wait
        self._downloads = [Download(self.changed, start if n == 0 else 0) for n in range(len(parts))]
        self._reading = 0
        self._thread = threading.Thread(target=self._run, name="audience", daemon=True)
        self._thread.start()

    def download(self, number: int) -> Download:
        """The bytes of a part. The call closes the part before, and lets the thread fetch the part after."""
        with self.changed:
            if number > self._reading:
                self._downloads[self._reading].close()
                self._reading = number
                self.changed.notify_all()
        return self._downloads[number]

    def close(self) -> None:
        """Stop the thread; it ends after its current request."""
        self._closed.set()
        for download in self._downloads:
            download.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        for number, pinned in enumerate(self._parts):
            with self.changed:
                # One part ahead: enough to hide the latency, and no more memory or disk than two parts need.
                self.changed.wait_for(lambda n=number: self._closed.is_set() or n <= self._reading + 1)  # type: ignore[misc]
            if self._closed.is_set():
                return
            download = self._downloads[number]
            try:
                self._fetch(pinned, download, self._start if number == 0 else 0)
            except Closed:
                download.abandon()
                return
            except Exception as error:  # noqa: BLE001 - `Download.read` raises it in the reader's thread
                download.end(error)
                return

    def _fetch(self, pinned: PinnedObject, download: Download, start: int) -> None:
        if self._cache is not None and pinned.size:
            cached = self._cache.open(pinned)
            if cached is not None:
                try:
                    # An object that was deleted or replaced ends the run, even if its bytes are still here.
                    check_unchanged(self._client, pinned, self._pause)
                except Exception:
                    os.close(cached)
                    raise
                download.take_file(cached, pinned.size)
                return
            # A download that begins in the middle cannot become a whole cached object.
            if start == 0 and (entry := self._cache.create(pinned)):
                download.write_through(entry)
        for piece in read_ranges(self._client, pinned, start, self._pause):
            download.put(piece)
        download.end()
