"""Erases users from the objects of one run that is over, and writes its tombstone, so that its proof still holds."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import msgspec

from notifier.model.batch_file import PinnedObject
from notifier.model.preparation import ManifestParts
from notifier.model.rewritten import FROM
from privacy.erased_bytes import Position, Rewritten, listed, pinned, result
from privacy.records import Unreadable
from privacy.runs import Sent
from privacy.versions import Version
from privacy.whom import REFUSED, Whom
from reporting.proof.erased import FILES, PREFIX, Replaced, Tombstone, moved_manifest
from reporting.proof.evidence import read_object

READERS = 8
IN_THIS_MOMENT = "it was written in this moment: erase again"
GONE = ("NoSuchKey", "NoSuchVersion", "404")
"""S3's codes for an object or a version that is not there."""


class Doomed(msgspec.Struct, frozen=True):
    """What is deleted at the end: versions that were replaced; and what is left beside what the bucket shows."""

    versions: dict[tuple[str, str], None]
    left: dict[str, str]


class RunEraser:
    """Replaces the objects of one run. Nothing is deleted here: that comes after all runs have their tombstones."""

    def __init__(self, client: Any, bucket: str, whom: Whom, doomed: Doomed) -> None:
        self._client = client
        self._bucket = bucket
        self._whom = whom
        self._doomed = doomed
        self._replaced: list[Replaced] = []

    def erase(self, sent: Sent, results: Mapping[str, Sequence[Version]], by: str, now_ms: int) -> int:
        """Replace what has an erased user. Returns how many users the run lost.

        Args:
            results: the versions of each of the run's result objects, newest first.
        """
        self._whom.seen.clear()
        self._replaced = []
        done: set[tuple[str, str | None]] = set()
        for parts in sent.audiences:
            at = Position()
            for part in parts:
                self._file(sent, part, at, done)
        for part in sent.lists:
            self._file(sent, part, None, done)
        self._manifest(sent)
        with ThreadPoolExecutor(READERS) as pool:
            for found in pool.map(self._result, results.values()):
                self._replaced += found
        users = len(self._whom.seen)
        if self._replaced:
            tombstone = Tombstone(sent.run_id, now_ms, by, users, tuple(self._replaced))
            key = f"{PREFIX}run_id={sent.run_id}/{now_ms}.json"
            self._client.put_object(Bucket=self._bucket, Key=key, Body=msgspec.json.encode(tombstone))
        return users

    def erase_counted(self, run_id: str, counted: Iterable[Sequence[Version]], by: str, now_ms: int) -> None:
        """Replace what a run counts for caps. After all runs: only the plain ids that were met give the hashes.

        Args:
            counted: the versions of each of its objects, newest first.
        """
        self._replaced = [found for versions in counted for found in self._result(versions)]
        if self._replaced:
            # Users are 0: the run's own tombstone has them.
            tombstone = Tombstone(run_id, now_ms, by, 0, tuple(self._replaced))
            key = f"{PREFIX}run_id={run_id}/{now_ms}-caps.json"
            self._client.put_object(Bucket=self._bucket, Key=key, Body=msgspec.json.encode(tombstone))

    def _file(self, sent: Sent, part: PinnedObject, at: Position | None, done: set[tuple[str, str | None]]) -> None:
        now, _ = sent.erasures.now(part)
        if now.bucket != self._bucket:
            self._doomed.left[f"s3://{now.bucket}/{now.key}"] = "in another bucket, for its owner to erase"
            return
        answer = self._get(now.key, now.version_id)
        if answer is None:
            return
        body = answer["Body"].read()
        try:
            new = pinned(body, self._whom, at) if at is not None else listed(body, self._whom)
        except Unreadable:
            # It stays, as what is only suspected does. Whether it has anybody is said of the bucket in the end.
            return
        if not new.erased or (now.key, now.version_id) in done:
            return
        done.add((now.key, now.version_id))
        # Never at its old key: under batches/ that would start a run. The same key after a crash.
        name = sha256(f"{now.key} {now.version_id}".encode()).hexdigest()[:20]
        key = f"{FILES}run_id={sent.run_id}/{name}"
        self._replaced.append(self._put(now.key, now.version_id, answer, body, new, key))

    def _result(self, versions: Sequence[Version]) -> list[Replaced]:
        latest, found = versions[0], []
        folder = latest.key.partition("/")[0]
        for version in versions:
            answer = self._get(version.key, version.pin)
            if answer is None:
                continue
            body = answer["Body"].read()
            try:
                new = result(folder, body, self._whom)
            except Unreadable:
                # It stays, and is named in the end.
                continue
            if not new.erased:
                continue
            if version.latest:
                try:
                    found.append(self._put(version.key, version.pin, answer, body, new, version.key))
                except self._client.exceptions.ClientError as error:
                    if error.response["Error"]["Code"] not in REFUSED:
                        raise
                    # A run that has ended early counts again for caps.
                    self._doomed.left[version.key] = IN_THIS_MOMENT
                continue
            # Deleted, whoever wrote it over. Only what an erasure wrote that then crashed gets into the tombstone.
            self._doomed.versions[version.key, version.id] = None
            # After a crash it proves that an erasure wrote the newest one.
            head = self._client.head_object(Bucket=self._bucket, Key=latest.key, VersionId=latest.id)
            if head["Metadata"].get(FROM) == version.id:
                there = self._client.get_object(Bucket=self._bucket, Key=latest.key, VersionId=latest.id)
                written = there["Body"].read()
                found.append(
                    _replaced(self._bucket, version.key, version.pin, answer, body, new, latest.key, there, written)
                )
        return found

    def _manifest(self, sent: Sent) -> None:
        """Move the manifest of a prepared audience that has lost users: no other run may find it and miss its parts."""
        folder = sent.prepared.rpartition("/")[0] + "/"
        if not sent.prepared or not any(one.key.startswith(folder) for one in self._replaced):
            return
        body = read_object(self._client, self._bucket, sent.prepared)
        if body is None:
            return
        # As far as an audit reads it: without samples, and without the hashes of ids that parts begin with.
        kept = msgspec.json.encode(msgspec.json.decode(body, type=ManifestParts))
        self._client.put_object(Bucket=self._bucket, Key=moved_manifest(sent.prepared), Body=kept)

    def _get(self, key: str, version: str | None) -> Any:
        more = {"VersionId": version} if version else {}
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key, **more)
        except self._client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                return None
            raise

    def _put(self, key: str, version: str | None, answer: Any, body: bytes, new: Rewritten, new_key: str) -> Replaced:
        # In its own place only if it is still what was read.
        condition = {"IfMatch": answer["ETag"]} if new_key == key else {}
        put = self._client.put_object(
            **condition,
            Bucket=self._bucket,
            Key=new_key,
            Body=new.body,
            ContentType=answer["ContentType"],
            Metadata=answer["Metadata"] | {FROM: version or "null"},
        )
        # Without versions the old bytes are gone with this write.
        if put.get("VersionId") or new_key != key:
            self._doomed.versions[key, version or "null"] = None
        return _replaced(self._bucket, key, version, answer, body, new, new_key, put, new.body)


def _replaced(
    bucket: str, key: str, version: str | None, answer: Any, body: bytes, new: Rewritten, new_key: str, put: Any,
    written: bytes,
) -> Replaced:  # fmt: skip
    return Replaced(
        bucket,
        key,
        version,
        answer["ETag"].strip('"'),
        sha256(body).hexdigest(),
        new_key,
        put.get("VersionId"),
        put["ETag"].strip('"'),
        len(written),
        sha256(written).hexdigest(),
        new.erased,
    )
