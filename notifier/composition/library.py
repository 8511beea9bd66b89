"""The batch files and audiences in S3, as admission and the hops read them."""

import time
from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, TypeVar

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from notifier.audience import (
    AudienceChanged,
    AudienceDenied,
    AudienceStream,
    AudienceUnreachable,
    BrokenFile,
    FileCache,
    FileKind,
    GuardedStream,
    Suppression,
    pin,
    pin_parts,
    read_head,
    read_ids,
)
from notifier.audience.ranges import read_ranges
from notifier.audience.unused import keep_for_run
from notifier.lifecycle.admitted import AdmittedCampaign, NotAdmitted
from notifier.model.batch_file import BatchFileHead, PinnedObject
from notifier.model.campaign import Audience
from notifier.model.cursor import Cursor
from notifier.model.cut import CUT_VERSION, CutParts, Window
from notifier.model.ledger import Ledger
from notifier.model.preparation import MANIFEST_VERSION, DivisibleAudience, ManifestPart, ManifestParts
from notifier.model.run import Source
from notifier.model.span import Span
from notifier.sending.batch_source import BrokenInput, ChangedInput, InputUnreachable, SuppressionUnreadable

_Manifest = TypeVar("_Manifest", ManifestParts, CutParts)
_NO_SUPPRESSION = "suppression_unreadable: the users whom every run leaves out cannot be read, so nothing is sent"
MAX_APPROVED_BYTES = 5_000_000
"""The approval app's batch files name their audience: they are much smaller."""


def role_of(session: boto3.Session) -> str:
    """The name of this process' role, for the operator who has to grant it something. STS asks for no permission."""
    patience = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1})
    try:
        arn: str = session.client("sts", config=patience).get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError):
        return "the worker's"
    # arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION
    kind, _, name = arn.rpartition(":")[2].partition("/")
    return name.partition("/")[0] if kind == "assumed-role" else arn


def is_approved(source: Source, ledger: Ledger, library: "S3Library") -> bool:
    """Whether exactly these bytes were approved, under this key."""
    approval = ledger.approval(source.bucket, source.key)
    return approval is not None and library.sha256_of(source) == approval.sha256


def approvers(source: Source, ledger: Ledger, library: "S3Library") -> str:
    """Who approved exactly these bytes; empty where nobody did, or the bytes are not there any more."""
    approval = ledger.approval(source.bucket, source.key)
    if approval is None:
        return ""
    try:
        return approval.by if library.sha256_of(source) == approval.sha256 else ""
    except NotAdmitted:
        # Deleted meanwhile: what was approved cannot be compared with it any more.
        return ""


def is_decided(source: Source, ledger: Ledger, library: "S3Library") -> bool:
    """Whether people approved exactly these bytes, whether or not the stack requires that."""
    by = approvers(source, ledger, library)
    # Where a schedule needs no approval its function names the schedule: nobody has decided then.
    return bool(by) and not by.startswith("schedule ")


class _DeviceCounts(msgspec.Struct, frozen=True):
    """Of a manifest's counts, the devices by platform and gateway."""

    devices: dict[str, dict[str, int]] = {}


class _Divisible(msgspec.Struct, frozen=True):
    """Of a manifest, what says how the audience can be divided. That of a final cut has no counts."""

    parts: tuple[ManifestPart, ...]
    counts: _DeviceCounts = _DeviceCounts()
    windows: tuple[Window, ...] = ()


class S3Library:
    """The objects in S3.

    Args:
        bucket: the stack's, where prepared audiences are.
        suppression: the user ids that every run leaves out.
        role: the name of the role that reads them, for messages.
    """

    def __init__(
        self,
        client: Any,
        cache: FileCache,
        bucket: str,
        suppression: Suppression,
        role: Callable[[], str] = lambda: "the worker's",
    ) -> None:
        self._client = client
        self._cache = cache
        self._bucket = bucket
        self._suppression = suppression
        self._role = role
        self._excluded: tuple[tuple[PinnedObject, ...], Container[str]] = ((), frozenset())
        """The exclude list that was read last, and its user ids."""

    def head(self, source: Source) -> BatchFileHead:
        """The batch file without its users. Raises NotAdmitted."""
        with self._refusing():
            return read_head(self._client, self.pin_source(source), cache=self._cache)

    def sha256_of(self, source: Source) -> str | None:
        """Of the batch file's bytes; None for one that is larger than any that is approved. Raises NotAdmitted.

        An ETag would not do: of an object that is encrypted with a KMS key it says nothing about the bytes.
        """
        pinned = self.pin_source(source)
        if pinned.size > MAX_APPROVED_BYTES:
            return None
        with self._refusing():
            return sha256(b"".join(read_ranges(self._client, pinned, 0, time.sleep))).hexdigest()

    def pin_source(self, source: Source) -> PinnedObject:
        """The very version of the run. Raises NotAdmitted."""
        with self._refusing():
            return pin(self._client, source.bucket, source.key, version_id=source.version_id, etag=source.etag)

    def pin_parts(self, audience: Audience, bucket: str, field: str) -> tuple[PinnedObject, ...]:
        """The parts as they are now, checked against the ETags that were stated. Raises NotAdmitted."""
        with self._refusing():
            parts = pin_parts(self._client, audience.parts, bucket, field)
        # The pages and schedules name a prepared audience by its parts.
        keep_for_run(self._client, self._bucket, parts)
        return parts

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Raises NotAdmitted for what no later try can read. AudienceUnreachable passes: the run waits."""
        try:
            yield
        except AudienceDenied as error:
            raise NotAdmitted(f"{error}. The role is {self._role()}") from None
        except (BrokenFile, AudienceChanged) as error:
            raise NotAdmitted(str(error)) from None

    def prepared_parts(self, manifest: str) -> tuple[PinnedObject, ...]:
        """The parts of a prepared audience: the manifest pins them. Raises NotAdmitted."""
        parts = tuple(part.pinned for part in self._manifest(manifest, ManifestParts, MANIFEST_VERSION).parts)
        keep_for_run(self._client, self._bucket, parts)
        return parts

    def cut_parts(self, manifest: str) -> CutParts:
        """What the final cut left of an audience. Raises NotAdmitted."""
        return self._manifest(manifest, CutParts, CUT_VERSION)

    def _manifest(self, key: str, kind: type[_Manifest], version: int) -> _Manifest:
        with self._refusing():
            # The newest version will do: a manifest is created once and never overwritten.
            pinned = pin(self._client, self._bucket, key)
            return _manifest_in(pinned.name, b"".join(read_ranges(self._client, pinned, 0, time.sleep)), kind, version)

    def divisible_audience(self, manifest: str) -> DivisibleAudience:
        """How a prepared audience, or its final cut, can be divided. Raises NotAdmitted."""
        with self._refusing():
            pinned = pin(self._client, self._bucket, manifest)
            data = b"".join(read_ranges(self._client, pinned, 0, time.sleep))
        try:
            found = msgspec.json.decode(data, type=_Divisible)
        except msgspec.DecodeError:
            raise NotAdmitted(f"{pinned.name}: not the manifest of a prepared audience") from None
        devices = Counter[str]()
        for by_gateway in found.counts.devices.values():
            devices.update(by_gateway)
        return DivisibleAudience(found.parts, dict(devices), found.windows)

    def stream(self, admitted: AdmittedCampaign, cursor: Cursor, span: Span | None = None) -> GuardedStream:
        """The users from a cursor on; of one lane of several to the end of what it sends."""
        kind = FileKind.BATCH_FILE if admitted.inline else FileKind.USERS
        parts = admitted.parts[: span.end_part] if span else admitted.parts
        stream = AudienceStream(self._client, parts, cursor, kind=kind, cache=self._cache, plain=True)
        return GuardedStream(stream, BrokenInput, InputUnreachable, ChangedInput)

    def stream_from_start(self, admitted: AdmittedCampaign) -> GuardedStream:
        """The users from the first on."""
        return self.stream(admitted, Cursor())

    def excluded(self, admitted: AdmittedCampaign) -> Container[str]:
        """The user ids of the exclude list. Blocks the first time; a warm process has them already.

        Raises:
            NotAdmitted: the list cannot be read.
        """
        # Pinned objects are equal only for the same bytes: an earlier run's list is used again only if it is the same.
        if admitted.exclude and self._excluded[0] != admitted.exclude:
            try:
                self._excluded = admitted.exclude, read_ids(self._client, admitted.exclude, cache=self._cache)
            except (BrokenFile, AudienceChanged) as error:
                raise NotAdmitted(f"exclude: {error}") from None
        return self._excluded[1] if admitted.exclude else frozenset()

    def read_suppression(self) -> None:
        """Read the user ids that every run leaves out, as they are now. Blocks.

        Raises:
            SuppressionUnreadable: the run waits, whatever the fault is: it is no fault of the run's own file.
        """
        try:
            self._suppression.read()
        except AudienceDenied as error:
            raise SuppressionUnreadable(f"{_NO_SUPPRESSION}: {error}. The role is {self._role()}") from None
        except (BrokenFile, AudienceChanged, AudienceUnreachable) as error:
            raise SuppressionUnreadable(f"{_NO_SUPPRESSION}: {error}") from None

    def suppressed(self, admitted: AdmittedCampaign) -> Container[str]:
        """The user ids that the run leaves out, as they were read last. None for what the law obliges to send."""
        # A recall or a change of terms must reach those too who asked for no pushes.
        return frozenset() if admitted.campaign.legal else self._suppression.ids


def _manifest_in(name: str, data: bytes, kind: type[_Manifest], version: int) -> _Manifest:
    try:
        found = msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError:
        raise NotAdmitted(f"{name}: not the manifest of a prepared audience") from None
    if found.version != version:
        raise NotAdmitted(f"{name}: a manifest of version {found.version}: this release reads {version}")
    return found
