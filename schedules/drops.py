"""Dated drops: the files that something else writes for each day, and whether they are complete.

Objects are listed and pinned when the marker is seen. One that is newer than the marker means that the writer is still
at it: the drop is not ready, and is looked at again.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from schedules.definition import DatedDrops

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


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
            if late := [one.key for one in files if one.at > marker.at]:
                raise NotReady(f"s3://{bucket}/{late[0]} is newer than {drops.ready}: the writer is still at it")
            files = self._of_manifest(bucket, marker.key, prefix, files)
        parts = [{"bucket": bucket, "key": one.key, "etag": one.etag} for one in sorted(files, key=lambda one: one.key)]
        if not parts:
            raise NotReady(f"{where} has no files")
        return {"parts": parts}

    def expected_rows(self, drops: DatedDrops, day: str) -> int | None:
        """How many rows a day's manifest says that its files have; None where there is none, or it does not say."""
        if not drops.ready or not drops.ready.endswith(_MANIFEST):
            return None
        bucket, prefix = self._place(drops.prefix.replace("$day", day))
        try:
            rows = [entry["rows"] for entry in self._manifest(bucket, prefix + drops.ready)]
        except (KeyError, TypeError, self._client.exceptions.NoSuchKey):
            return None
        return sum(rows) if all(isinstance(n, int) for n in rows) else None

    def _manifest(self, bucket: str, key: str) -> list[Any]:
        """The entries of a manifest. Raises NotReady."""
        try:
            entries = json.loads(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())["files"]
        except (ValueError, KeyError, TypeError):
            entries = None
        if not isinstance(entries, list):
            raise NotReady(f's3://{bucket}/{key} is no manifest: {{"files": [{{"key": …, "rows": …}}]}}')
        return entries

    def _of_manifest(self, bucket: str, key: str, prefix: str, files: list[_Listed]) -> list[_Listed]:
        """The files that a manifest names; all of them where the marker is no manifest."""
        if not key.endswith(_MANIFEST):
            return files
        try:
            named = [_key_in(entry, prefix) for entry in self._manifest(bucket, key)]
        except KeyError:
            raise NotReady(f"s3://{bucket}/{key} has an entry without a key") from None
        by_key = {one.key: one for one in files}
        if missing := [name for name in named if name not in by_key]:
            raise NotReady(f"s3://{bucket}/{missing[0]} is in {key} and not there")
        return [by_key[name] for name in named]

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
