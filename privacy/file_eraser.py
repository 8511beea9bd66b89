"""Erases users from all files that are no results of runs: audiences, lists, documents, answers."""

from typing import Any

from notifier.model.rewritten import metadata_of, place_of
from privacy.counted import has_hashes
from privacy.erased_bytes import document, listed
from privacy.places import MADE_HERE, Way
from privacy.records import Unreadable, user_of
from privacy.run_eraser import GONE, IN_THIS_MOMENT, Doomed
from privacy.runs import Open
from privacy.stack import Stack, get_version, is_manifest, left_to, way_of
from privacy.suspicion import has_user, is_of_user
from privacy.versions import Version, versions_under
from privacy.whom import REFUSED, Whom

REWRITES = 5
"""So often a file is read and rewritten that others write at the same time."""


class FileEraser:
    """Everything but the results of runs, version by version."""

    def __init__(self, stack: Stack, whom: Whom, open_: Open, doomed: Doomed) -> None:
        self._stack = stack
        self._whom = whom
        self._open = open_
        self._doomed = doomed

    def erase(self, version: Version) -> None:
        """Replace a version that is the newest and read by its name; delete any other that has an erased user."""
        key, way = version.key, way_of(self._stack, version.key)
        if way in (Way.RESULT, Way.NOBODY) or has_hashes(key) or not version.size:
            return
        if left_to(self._stack, self._open, key):
            return
        if is_manifest(key) and not version.latest:
            self._doomed.versions[key, version.id] = None
            return
        for _ in range(REWRITES):
            answer = get_version(self._stack, version)
            if answer is None or self._rewrite(version, way, answer):
                return
            newest = _newest(self._stack, key)
            if newest is None:
                # Deleted in this moment: what was read is an older version now.
                self._doomed.versions[key, version.id] = None
                return
            if newest.id != version.id:
                self._doomed.versions[key, version.id] = None
            version = newest
        self._doomed.left[key] = IN_THIS_MOMENT

    def _rewrite(self, version: Version, way: Way, answer: Any) -> bool:
        """Replace a version, or have it deleted. False where another one has taken its place since it was read."""
        key, body = version.key, answer["Body"].read()
        try:
            if way is Way.ANSWER:
                # Nobody's proof needs it.
                if user_of(body) in self._whom:
                    self._doomed.versions[key, version.id] = None
                return True
            new = (document if way is Way.DOCUMENT or is_manifest(key) else listed)(body, self._whom)
        except Unreadable:
            if self._is_deletable(version, body):
                self._doomed.versions[key, version.id] = None
            return True
        if not new.erased:
            return True
        if is_manifest(key) or (version.latest and not key.startswith((*MADE_HERE, "batches/"))):
            place = place_of(self._stack.bucket, key)
            try:
                put = self._stack.s3.put_object(
                    Bucket=self._stack.bucket, Key=key, Body=new.body, ContentType=answer["ContentType"],
                    Metadata=metadata_of(answer["Metadata"], place, version.id, answer["LastModified"], new.erased),
                    # Only in place of what was read: a newer list may be put there in this moment.
                    IfMatch=answer["ETag"],
                )  # fmt: skip
            except self._stack.s3.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in (*REFUSED, *GONE):
                    raise
                return False
            if not put.get("VersionId"):
                return True
        self._doomed.versions[key, version.id] = None
        return True

    def _is_deletable(self, version: Version, body: bytes) -> bool:
        """Whether a version that cannot be rewritten may go. A person's own export may not, on suspicion alone."""
        if version.key.startswith(MADE_HERE):
            return has_user(body, self._whom) is not False
        # A word of a text may be an id, and may be a word.
        return not version.latest and is_of_user(body, self._whom)

    def delete_manifests(self, versions: dict[str, list[Version]]) -> None:
        """A manifest whose parts are gone is found by nobody any more: such an audience is prepared again."""
        gone = tuple(key for key, _ in self._doomed.versions if not is_manifest(key))
        for key in [key for key in versions if is_manifest(key)]:
            folder = key.rpartition("/")[0] + "/"
            if any(one.startswith(folder) for one in gone):
                for version in versions_under(self._stack.s3, self._stack.bucket, key):
                    self._doomed.versions[key, version.id] = None


def _newest(stack: Stack, key: str) -> Version | None:
    """What stands under a key now."""
    found = versions_under(stack.s3, stack.bucket, key)
    return next((one for one in found if one.key == key and one.latest), None)
