"""Dated drops: the files that something else writes for each day, and whether they are complete.

Objects are listed and pinned when the marker is seen. One that is newer than the marker means that the writer is still
at it: the drop is not ready, and is looked at again. A file that an erasure has rewritten is judged by the one before.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from notifier.model.rewritten import Rewritten, place_of, rewritten
from schedules.definition import DatedDrops

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


HEADS = 8
"""So many objects are looked at at once."""
_MANIFEST = ".json"
"""How the name of a marker ends that is a manifest."""


class NotReady(Exception):
    """The day's files are not complete; the message says what is missing."""


class _Listed(msgspec.Struct, frozen=True):
    key: str
    etag: str
    size: int
    at: datetime


class Drops:
    """The dated drops in the stack's bucket, and in others that it may read."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def request(self, drops: DatedDrops, day: str, *, declared_ready: bool) -> dict[str, Any]:
        """The audience of a day: its files, pinned.

        Args:
            declared_ready: an operator has said that the files are complete.

        Raises:
            NotReady: they are not, as far as one can see.
        """
        bucket, prefix = self._place(drops.prefix.replace("$day", day))
        objects = {one.key: one for one in self._listed(bucket, prefix)}
        marker = objects.pop(prefix + drops.ready, None) if drops.ready else None
        where = f"s3://{bucket}/{prefix}"
        if drops.ready and marker is None and not declared_ready:
            raise NotReady(f"{where}{drops.ready} is not there")
        if not drops.ready and not declared_ready:
            raise NotReady(f"nobody has said that {where} is complete: notifier schedules ready NAME --day {day}")
        # Writers put helpers beside the data: Spark and Athena call them _temporary, _SUCCESS, .crc.
        files = [one for key, one in objects.items() if one.size and not _is_helper(key.removeprefix(prefix))]
        if marker is not None and not declared_ready:
            self._judge_times(bucket, drops.ready, marker, files)
            files = self._of_manifest(bucket, marker.key, prefix, files, objects)
        parts = [{"bucket": bucket, "key": one.key, "etag": one.etag} for one in sorted(files, key=lambda one: one.key)]
        if not parts:
            raise NotReady(f"{where} has no files")
        return {"parts": parts}

    def _judge_times(self, bucket: str, ready: object, marker: _Listed, files: list[_Listed]) -> None:
        """Raise NotReady where a file was written after the marker, by anything else than an erasure."""
        late = [one.key for one in files if one.at > marker.at]
        erased = self._rewritten(bucket, late)
        if newer := [key for key in late if key not in erased or erased[key].written_at > marker.at]:
            raise NotReady(f"s3://{bucket}/{newer[0]} is newer than {ready}: the writer is still at it")

    def expected_rows(self, drops: DatedDrops, day: str) -> int | None:
        """How many rows a day's manifest says that its files have; None where there is none, or it does not say.

        Without those that erasures have left out of the files since they were written.
        """
        if not drops.ready or not drops.ready.endswith(_MANIFEST):
            return None
        bucket, prefix = self._place(drops.prefix.replace("$day", day))
        try:
            entries = self._manifest(bucket, prefix + drops.ready)
            rows = [entry["rows"] for entry in entries]
            keys = [_key_in(entry, prefix) for entry in entries]
        except (KeyError, TypeError, self._client.exceptions.NoSuchKey):
            return None
        if not all(isinstance(n, int) for n in rows):
            return None
        left_out = sum(one.records for one in self._rewritten(bucket, keys).values())
        return int(sum(rows)) - left_out

    def _rewritten(self, bucket: str, keys: list[str]) -> dict[str, Rewritten]:
        """Those of some objects that an erasure has rewritten: in the stack's bucket alone."""
        if bucket != self._bucket or not keys:
            return {}
        with ThreadPoolExecutor(HEADS) as pool:
            found = zip(keys, pool.map(self._metadata, keys), strict=True)
            judged = ((key, rewritten(metadata, place_of(bucket, key))) for key, metadata in found)
            return {key: one for key, one in judged if one is not None}

    def _metadata(self, key: str) -> Mapping[str, str]:
        try:
            return self._client.head_object(Bucket=self._bucket, Key=key)["Metadata"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
            return {}

    def _manifest(self, bucket: str, key: str) -> list[Any]:
        """The entries of a manifest. Raises NotReady."""
        try:
            entries = json.loads(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())["files"]
        except (ValueError, KeyError, TypeError):
            entries = None
        if not isinstance(entries, list):
            raise NotReady(f's3://{bucket}/{key} is no manifest: {{"files": [{{"key": …, "rows": …}}]}}')
        return entries

    def _of_manifest(
        self, bucket: str, key: str, prefix: str, files: list[_Listed], objects: Mapping[str, _Listed]
    ) -> list[_Listed]:
        """The files that a manifest names; all of them where the marker is no manifest.

        Args:
            objects: all that are there, by their keys, empty ones too.
        """
        if not key.endswith(_MANIFEST):
            return files
        try:
            named = [_key_in(entry, prefix) for entry in self._manifest(bucket, key)]
        except KeyError:
            raise NotReady(f"s3://{bucket}/{key} has an entry without a key") from None
        by_key = {one.key: one for one in files}
        # An erasure may have left nobody in a file.
        emptied = self._rewritten(bucket, [name for name in named if name in objects and name not in by_key])
        if missing := [name for name in named if name not in by_key and name not in emptied]:
            raise NotReady(f"s3://{bucket}/{missing[0]} is in {key} and not there")
        return [by_key[name] for name in named if name in by_key]

    def _place(self, prefix: str) -> tuple[str, str]:
        if prefix.startswith("s3://"):
            bucket, _, key = prefix.removeprefix("s3://").partition("/")
            return bucket, key
        return self._bucket, prefix

    def _listed(self, bucket: str, prefix: str) -> list[_Listed]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [
            _Listed(one["Key"], one["ETag"].strip('"'), one["Size"], one["LastModified"])
            for page in pages
            for one in page.get("Contents", ())
        ]


def _is_helper(name: str) -> bool:
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _key_in(entry: object, prefix: str) -> str:
    """The key of a manifest's entry, which may be written from the bucket's root or from the manifest's folder."""
    key = str(entry["key"] if isinstance(entry, Mapping) else entry)
    key = key.partition("://")[2].partition("/")[2] if "://" in key else key
    return key if key.startswith(prefix) else prefix + key
