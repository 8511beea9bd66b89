"""What the peers in Python share: sizes, tokens, and how time is taken."""

import json
import os
import time
from importlib.metadata import version
from pathlib import Path

REQUESTS = int(os.environ["REQUESTS"])
HOST, PORT, CA = os.environ["SINK_HOST"], int(os.environ["SINK_PORT"]), os.environ["SINK_CA"]
URL = f"https://{HOST}:{PORT}"
FCM_KEY, APNS_KEY = os.environ["FCM_KEY"], os.environ["APNS_KEY"]
TITLE, BODY = "Hello! Who joined?", "3 people you may know joined this week"
DATA = {"screen": "people", "deep_link": "app://people", "run": "r" * 20, "campaign": "bench", "arm": "question"}
CHUNK = 500


def fcm_token(number: int) -> str:
    """Of the usual length."""
    return f"{number:022x}:APA91b{number:0113x}"


def apns_token(number: int) -> str:
    """64 hexadecimal digits."""
    return f"{number:064x}"


def _peak_rss_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


class Stopwatch:
    """Starts after the first tenth."""

    def __init__(self) -> None:
        self.done = 0
        self._from = 0
        self._cpu = self._wall = 0.0

    def add(self, count: int) -> None:
        """So many answers more."""
        self.done += count
        if not self._from and self.done >= REQUESTS // 10:
            self._from, self._cpu, self._wall = self.done, time.process_time(), time.perf_counter()

    def tell(self, library: str | None) -> None:
        """Print the figures; of no library, this tree's."""
        figures = {
            "requests": self.done - self._from,
            "cpu_s": time.process_time() - self._cpu,
            "wall_s": time.perf_counter() - self._wall,
            "peak_rss_mb": _peak_rss_mb(),
            "version": version(library) if library else "",
        }
        print(json.dumps(figures))
