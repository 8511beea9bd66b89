"""Which files an audience is made of: keys, prefixes and globs become pinned objects before a byte of them is read."""

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from audiences.faults import AudienceFault, NothingThere
from notifier.audience.pin import pin
from notifier.model.audience_faults import AudienceChanged, AudienceUnreachable
from notifier.model.batch_file import PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_FILES = 10_000
_SCHEME = "s3://"
_WILDCARDS = re.compile(r"[*?\[]")
_PIN_THREADS = 8
_WRITTEN_LAST = ("_SUCCESS", "_manifest.json", "_committed_", "_started_")
"""Files that exporters put beside the data; they are no users."""
_BESIDE = ("manifest", "-manifest.csv", ".csv.metadata", ".crc")
"""Ends of names of such files: Redshift's `part_manifest`, what Athena puts beside results, Hadoop's checksums."""
_TABLE_FOLDERS = {"_delta_log": "Delta", ".hoodie": "Hudi"}
_ICEBERG = ".metadata.json"
"""Signs of tables that are made of many files, of which only some hold now."""


class InputFile(msgspec.Struct, frozen=True):
    """A file on this machine that holds raw rows: what preparation reads.

    Args:
        path: JSON in lines, one value after the other, a list or an object with `users`; CSV; Parquet. Plain, gzip or
            zstd.
        name: as messages name it, such as `s3://bucket/key`.
        pinned: the object that it was fetched from; None for a file of this machine, or one that a query wrote.
        ordered: False if the order of its rows means nothing, as with the result of a query: then the order of the
            rows never decides which of two is the later.
        in_batch_file: it is a batch file with its users in it.
    """

    path: Path
    name: str
    pinned: PinnedObject | None = None
    ordered: bool = True
    in_batch_file: bool = False


def pinned_files(client: "S3Client", names: Sequence[str], bucket: str) -> tuple[PinnedObject, ...]:
    """The objects that these names mean now, each once: in the order of the names, and by key within one.

    Args:
        names: keys, prefixes that end in `/`, and globs (`*` stays within a folder, `**` does not); with `s3://bucket/`
            before them or without.
        bucket: of names without one.

    Raises:
        AudienceFault: a name means no object, or all mean too many.
        AudienceDenied, AudienceUnreachable: S3 refuses, or does not answer.
    """
    found: dict[tuple[str, str], None] = {}
    for name in names:
        keys = list(_keys_of(client, *split(name, bucket)))
        if not keys:
            raise NothingThere(f"{name}: no object has such a key", "check the name; a prefix ends in /")
        # A dict keeps the order of the names, which decides which of two rows of a user is the later; each object once.
        found.update(dict.fromkeys(keys))
        if len(found) > MAX_FILES:
            raise AudienceFault(f"{name}: over {MAX_FILES:,} objects", "join them, or name fewer")

    def one(place: tuple[str, str]) -> PinnedObject:
        try:
            return pin(client, *place)
        except AudienceChanged as error:
            raise AudienceFault(str(error), "upload it, or name the object that is there") from None

    with ThreadPoolExecutor(_PIN_THREADS) as pool:
        return tuple(pool.map(one, found))


def split(name: str, bucket: str) -> tuple[str, str]:
    """Bucket and key of a name."""
    if not name.startswith(_SCHEME):
        return bucket, name
    found, _, key = name.removeprefix(_SCHEME).partition("/")
    return found, key


def local_files(names: Sequence[str]) -> tuple[InputFile, ...]:
    """Files of this machine: paths, folders, and globs, with the same rules as in S3.

    Raises AudienceFault for a name that means no file, and where all mean too many.
    """
    found: dict[Path, None] = {}
    for name in names:
        paths = list(_local_paths(name))
        if not paths:
            what = "no file of users is in this folder" if Path(name).is_dir() else "there is no such file"
            raise NothingThere(f"{name}: {what}", "check the path")
        found.update(dict.fromkeys(paths))
        if len(found) > MAX_FILES:
            raise AudienceFault(f"{name}: over {MAX_FILES:,} files", "join them, or name fewer")
    return tuple(InputFile(path, str(path)) for path in found)


def _local_paths(name: str) -> Iterator[Path]:
    path = Path(name)
    glob = _WILDCARDS.search(str(path))
    if path.is_file():
        yield path
    elif path.is_dir():
        # A prefix of S3 has no folders: what is copied there from a folder of this folder is in it, too.
        yield from _once(path / one for one in sorted(_chosen(_files_under(path), "", None, name)))
    elif glob:
        before = str(path)[: glob.start()].rpartition("/")[0]
        folder = Path(before or path.anchor)
        pattern = path.relative_to(folder).as_posix()
        # One folder more than the glob has: the log of a table is in such a one.
        depth = None if "**" in pattern else pattern.count("/") + 1
        yield from _once(folder / one for one in sorted(_chosen(_files_under(folder, depth), "", pattern, name)))


def _once(paths: Iterable[Path]) -> Iterator[Path]:
    """Each file of a folder once, of those that were chosen: links may lead to the folder by another name."""
    met = set[tuple[Path, str]]()
    for path in paths:
        if (place := (path.parent.resolve(), path.name)) not in met:
            met.add(place)
            yield path


def _files_under(folder: Path, depth: int | None = None) -> Iterator[tuple[str, int]]:
    """Names and sizes of the files in a folder and in the folders under it, relative to it.

    Args:
        depth: how many folders deep. None: all.
    """
    # The folders that each is in, itself included.
    chains = dict[str, frozenset[tuple[int, int]]]()

    def refuse(error: OSError) -> None:
        """Raise AudienceFault for a folder whose users would be lost without a word."""
        within = len(Path(error.filename).relative_to(folder).parts)
        is_there = error.errno not in (errno.ENOENT, errno.ENOTDIR)
        # Of those that are too deep for the glob no file is asked for.
        if is_there and (depth is None or within < depth):
            raise AudienceFault(f"{error.filename}: {error.strerror}", "check who may read it") from None

    # With links to folders: their users would be lost without a word.
    for where, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        relative = Path(where).relative_to(folder)
        place = Path(where).stat()
        above = chains.get(str(Path(where).parent), frozenset())
        # By a link that leads to a folder above it, and would have no end.
        if (place.st_dev, place.st_ino) in above:
            folders.clear()
            continue
        chains[where] = above | {(place.st_dev, place.st_ino)}
        if depth is not None and len(relative.parts) >= depth:
            folders.clear()
        for path in (Path(where, file) for file in files):
            if path.is_file():
                yield (relative / path.name).as_posix(), path.stat().st_size


def _keys_of(client: "S3Client", bucket: str, key: str) -> Iterator[tuple[str, str]]:
    glob = _WILDCARDS.search(key)
    if not glob and not key.endswith("/"):
        yield bucket, key
        return
    # S3 lists by prefix only: everything behind the first wildcard is matched here.
    prefix = key[: glob.start()] if glob else key
    listed = _listed(client, bucket, key, prefix)
    chosen = _chosen(listed, prefix, key if glob else None, f"s3://{bucket}/{key}")
    yield from ((bucket, one) for one in chosen)


def _chosen(listed: Iterable[tuple[str, int]], prefix: str, glob: str | None, where: str) -> list[str]:
    """The keys that hold users, of those under a prefix. Raises AudienceFault for a table whose files hold old rows."""
    matches = glob_pattern(glob).fullmatch if glob else lambda _: True
    taken: list[str] = []
    tables: dict[str, str] = {}
    for found, size in listed:
        if table := _table_of(found.split("/")):
            tables.setdefault(*table)
        # `_temporary` is of a job of Hadoop's or Spark's that is still writing, or has failed; a folder whose name
        # begins with a dot is a tool's own (`.ipynb_checkpoints`). Consoles write an empty object for a folder, and an
        # empty file has no rows.
        # Of whole names: a wildcard may stand within the name of a folder.
        *folders, name = found.removeprefix(prefix[: prefix.rfind("/") + 1]).split("/")
        is_aside = any(one == "_temporary" or one.startswith(".") for one in folders)
        if size and not is_aside and _is_data(name) and matches(found):
            taken.append(found)
    for folder, kind in tables.items():
        if any(one.startswith(folder) for one in taken):
            raise _of_a_table(where, kind)
    return taken


def _listed(client: "S3Client", bucket: str, key: str, prefix: str) -> Iterator[tuple[str, int]]:
    """Keys and sizes under a prefix, which was asked for as `key`."""
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", ()):
                yield one["Key"], one["Size"]
    except client.exceptions.NoSuchBucket:
        raise AudienceFault(f"s3://{bucket}/{key}: there is no such bucket", "check the name") from None
    except client.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        raise AudienceUnreachable(f"s3://{bucket}/{key}: S3 does not list its objects ({code})") from None


def _table_of(parts: Sequence[str]) -> tuple[str, str] | None:
    """The folder of a table that a key's parts are a sign of, with the tool that wrote it; None for every other key."""
    for n, folder in enumerate(parts[:-1]):
        is_icebergs = folder == "metadata" and n == len(parts) - 2 and parts[-1].endswith(_ICEBERG)
        if kind := _TABLE_FOLDERS.get(folder) or ("Iceberg" if is_icebergs else None):
            return "".join(f"{one}/" for one in parts[:n]), kind
    return None


def _of_a_table(where: str, kind: str) -> AudienceFault:
    """Of a folder whose files hold rows that were replaced or deleted since, too."""
    mend = "query it (Athena reads such tables), or write the rows that hold now to a folder of their own"
    return AudienceFault(f"{where}: a table of {kind}'s: its files have rows, too, that hold no longer", mend)


def _is_data(name: str) -> bool:
    """Whether a file of a folder may hold rows, by its name: side files of other tools do not."""
    return bool(name) and not name.startswith((".", *_WRITTEN_LAST)) and not name.endswith(_BESIDE)


def glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob as an expression: `*` and `?` match no slash, `**` matches any text, `[ab]` one of these characters."""
    forms = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/?|\*|\?|\[[^\]/]+\])", glob)
    return re.compile(
        "".join(
            piece if piece[:1] == "[" and len(piece) > 1 else forms.get(piece) or re.escape(piece) for piece in pieces
        ),
        re.DOTALL,
    )
