"""The final cut of a prepared audience: CPU and memory of a process that does nothing else, without S3.

    python -m tests.bench.final_cut [--users 1000000] [--left-out 0.01]

Of the users one share is on the exclude list and as many are suppressed. What is measured is what the cut adds to
reading and writing objects: finding who is left out, and writing the others' parts.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import msgspec

from audiences.cut import CutOrder, make_cut
from audiences.cut_rules import PreparedUser, rules_of
from audiences.destinations import Directory
from audiences.manifest_format import MAX_USERS_IN_PART, PreparedPart
from audiences.parts import written_parts
from notifier.audience import IdSet
from notifier.model.batch_file import PinnedObject


class Shelf(Directory):
    """A directory that copies like a bucket."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def copy(self, source: str, key: str) -> None:
        """Copy an object."""
        self._place(key).write_bytes((self._path / source).read_bytes())


def prepared(shelf: Shelf, folder: Path, users: int) -> tuple[PreparedPart, ...]:
    """Parts of so many users, in the form that preparation writes."""
    ids = sorted((PreparedUser(f"user-{n}", ()).hash, f"user-{n}") for n in range(users))
    lines = [
        (hash_, 1, json.dumps({"user_id": one, "devices": [{"platform": "ios", "token": f"{hash_:064x}"}],
                               "locale": "de", "attributes": {"first_name": "Ann"}}, separators=(",", ":")).encode())
        for hash_, one in ids
    ]  # fmt: skip
    found = []
    for part in written_parts([lines[n : n + 5_000] for n in range(0, users, 5_000)], folder / "writing"):
        pinned = shelf.put(f"audiences/prepared/x/{part.path.name}", part.path)
        found.append(
            PreparedPart(
                "", pinned.key, pinned.etag, part.sha256, part.bytes, part.users, part.devices, part.first_record,
                part.batches[0], part.batches,
            )
        )  # fmt: skip
    return tuple(found)


def read_from(shelf: Shelf) -> None:
    """Instead of S3's ranges: the file itself."""
    from audiences import cut
    from audiences.sources import InputFile

    def fetch(_client: object, objects: tuple[PinnedObject, ...], directory: Path) -> list[InputFile]:
        directory.mkdir(parents=True, exist_ok=True)
        return [InputFile(shelf._path / one.key, one.name, one) for one in objects]

    setattr(cut, "fetch", fetch)  # noqa: B010 - objects are files here


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--left-out", type=float, default=0.01)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shelf = Shelf(folder / "bucket")
        parts = prepared(shelf, folder, arguments.users)
        some = int(arguments.users * arguments.left_out)
        exclude, suppressed = IdSet(f"user-{n}" for n in range(some)), IdSet(f"user-{n * 2}" for n in range(some))
        read_from(shelf)
        order = CutOrder("r", 1, "m", parts, rules_of(exclude, suppressed), max_users=MAX_USERS_IN_PART)
        began = time.process_time()
        made = make_cut(order, shelf, shelf, folder / "work")  # type: ignore[arg-type]
        seconds = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        left_out = msgspec.to_builtins(made.excluded_by)
        print(json.dumps({"users": arguments.users, "cpu_s": round(seconds, 2), "peak_mb": peak, "left_out": left_out}))


if __name__ == "__main__":
    main()
