"""Prepared audiences as the pages see them: ordered from the audience function, counted, then pinned in a request."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import BotoCoreError, ClientError

from approval.audience_form import canonical
from approval.files import Files, ManifestRead
from approval.reasons import without_commands
from approval.table import Table
from notifier.dynamodb import IS_NEW, condition_of, is_refused, item_of
from notifier.model.audience_counts import Counts
from notifier.model.campaign import Part
from notifier.model.preparation import MANIFEST_VERSION, ManifestPart, Preparation, PreparationState
from notifier.preparation_items import PREPARATION, asked_for, order_id, preparation_of

KEEP_S = 30 * 86_400
"""An order's item is kept for this long."""
ASKED_AGAIN_MS = 60_000
"""Where the function did not begin by then, the sweeper asks it again."""
MAX_KEPT = 50
"""Manifests that a process keeps."""
MAX_CHECKED = 20
"""Files, and parts, that are looked at for changes."""
_NO_ANSWER = "It could not be asked for. Load this page again in a moment."
_IS_OVER = Attr("state").is_in(
    [PreparationState.PREPARED.value, PreparationState.FAILED.value, PreparationState.CANCELLED.value]
)


class MadeOf(msgspec.Struct, frozen=True):
    """An object that an audience was made of; a query's rows have no bucket."""

    bucket: str
    key: str
    etag: str
    rows: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """What the pages need to know of a prepared audience's manifest."""

    version: int
    id: str
    request: dict[str, Any]
    inputs: tuple[MadeOf, ...]
    parts: tuple[ManifestPart, ...]
    counts: Counts
    queries: dict[str, str] = {}


class PreparedAudience(msgspec.Struct, frozen=True):
    """A prepared audience. `made_at_ms` is when it was counted, `version_id` of the manifest's object."""

    key: str
    made_at_ms: int
    manifest: Manifest
    version_id: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its objects, pinned: what a batch file names."""
        return tuple(Part(part.key, part.bucket, part.version_id, part.etag) for part in self.manifest.parts)


class AudienceSeen(msgspec.Struct, frozen=True):
    """An audience as a page shows it.

    Args:
        request: what was chosen; None where nothing was, or nothing valid.
        order: the latest order of it; None where it was never counted.
        prepared: None until it is counted.
    """

    request: Mapping[str, Any] | None = None
    order: Preparation | None = None
    prepared: PreparedAudience | None = None

    @property
    def counts(self) -> Counts | None:
        """What it holds; None until it is counted."""
        return self.prepared.manifest.counts if self.prepared is not None else None

    @property
    def samples(self) -> tuple[Mapping[str, Any], ...]:
        """Users for previews, their tokens masked; none until it is counted."""
        return self.counts.samples if self.counts is not None else ()

    @property
    def is_counting(self) -> bool:
        """Whether the audience function is at it."""
        return self.prepared is None and self.order is not None and not self.order.state.is_over

    @property
    def fault(self) -> str:
        """Why it could not be counted; empty if it could, or was not tried."""
        if self.prepared is not None or self.order is None or self.order.state is not PreparationState.FAILED:
            return ""
        return without_commands(self.order.reason) or "its preparation ended without a reason"


class NoCost(Exception):
    """What an audience would read is not known. The message says why."""


class NotKnown(Exception):
    """How many would be left out now is not known. The message says why."""


class LeftOutNow(msgspec.Struct, frozen=True):
    """At most `users` get the push; about so many of them, by reason, would be left out as of that time.

    Args:
        reached: about how many of the users have had one, two, and three or more campaigns in seven days, under `1`,
            `2` and `3`; None where that is not known: without DefaultTimezone nobody is counted.
    """

    users: int
    left_out: dict[str, int]
    as_of: datetime
    reached: dict[str, int] | None = None


class _CostAnswer(msgspec.Struct):
    costs: tuple[str, ...] | None = None
    fault: str = ""


class Audiences(Table):
    """Orders audiences, and reads what was prepared.

    Args:
        client: a boto3 DynamoDB client.
        table: the ledger's table, which has the orders.
        lambda_client: a boto3 Lambda client, for orders.
        asking: one that waits long, and asks once, for answers.
        function: the audience function's name or ARN.
    """

    def __init__(
        self, client: Any, table: str, lambda_client: Any, asking: Any, function: str, files: Files, bucket: str
    ) -> None:
        super().__init__(client, table)
        self._lambda = lambda_client
        self._asking = asking
        self._function = function
        self._files = files
        self._bucket = bucket
        self._manifests: dict[str, tuple[int, PreparedAudience]] = {}
        """By key, with the order that it was read for: another order replaces one whose parts have expired. What was
        deleted is asked for again when the process is new."""

    def seen(self, request: Mapping[str, Any] | None) -> AudienceSeen:
        """The audience of a request, with its latest order."""
        if request is None:
            return AudienceSeen()
        item = self._get(f"run#{order_id(canonical(request), self._bucket)}", PREPARATION)
        order = preparation_of(item) if item is not None else None
        prepared = self.prepared(order.manifest, order.asked_at_ms) if order is not None and order.manifest else None
        return AudienceSeen(request, order, prepared)

    def prepared(self, key: str, asked_at_ms: int = 0, version_id: str = "") -> PreparedAudience | None:
        """The prepared audience with this manifest; None where it is gone, or a newer release wrote it.

        Args:
            asked_at_ms: when the order was given that it is to be as new as; by default it may be of any.
            version_id: of the manifest that was pinned: it stays when its key has expired.
        """
        kept = self._manifests.get(key)
        if kept is not None and kept[0] >= asked_at_ms:
            return kept[1]
        found = self._files.manifest(key, version_id)
        if found is None:
            return None
        read = _read(key, found)
        if read is None:
            return None
        if len(self._manifests) >= MAX_KEPT:
            self._manifests.pop(next(iter(self._manifests)))
        self._manifests[key] = (asked_at_ms, read)
        return read

    def order(self, request: Mapping[str, Any], now_s: int) -> None:
        """Have an audience made and counted, unless that is under way. What is prepared already is found quickly."""
        text = canonical(request)
        id_ = order_id(text, self._bucket)
        asked = asked_for(id_, text.decode(), self._bucket, now_s * 1000 + ASKED_AGAIN_MS)
        item = item_of({**asked, "asked_at_ms": now_s * 1000, "expires_at": now_s + KEEP_S})
        try:
            # Not one that an attempt is at: its lease would be lost.
            self._client.put_item(TableName=self._table, Item=item, **condition_of(IS_NEW | _IS_OVER))
        except ClientError as error:
            if is_refused(error):
                return
            raise
        payload = json.dumps({"prepare": id_}).encode()
        self._lambda.invoke(FunctionName=self._function, InvocationType="Event", Payload=payload)

    def costs(self, request: Mapping[str, Any]) -> tuple[str, ...]:
        """What making this audience would read, in sentences, before anything is read.

        Raises:
            NoCost: with the audience function's own words, or that it did not answer.
        """
        payload = json.dumps({"cost": request, "bucket": self._bucket}).encode()
        try:
            answer = self._asking.invoke(FunctionName=self._function, InvocationType="RequestResponse", Payload=payload)
        except (BotoCoreError, ClientError):
            raise NoCost("What it would read could not be asked for. Try again in a moment.") from None
        found = msgspec.json.decode(answer["Payload"].read(), type=_CostAnswer)
        if answer.get("FunctionError") or found.costs is None:
            raise NoCost(
                without_commands(found.fault) or "What it would read could not be asked for. Try again in a moment."
            )
        return found.costs

    def left_out_now(
        self, manifest: str, campaign: Mapping[str, Any] | None, *, legal: bool, asking: Any = None
    ) -> LeftOutNow:
        """Whom the final cut would leave out if the run began now.

        Args:
            campaign: as a batch file has it; None where the form has faults.
            asking: a boto3 Lambda client; by default the one that waits long.

        Raises:
            NotKnown: with the audience function's own words, or that it did not answer.
        """
        exclude = ((campaign or {}).get("exclude") or {}).get("parts", ())
        asked = {"left_out": manifest, "bucket": self._bucket, "legal": legal, "campaign": campaign, "exclude": exclude}
        try:
            answer = (asking or self._asking).invoke(
                FunctionName=self._function, InvocationType="RequestResponse", Payload=json.dumps(asked).encode()
            )
        except (BotoCoreError, ClientError):
            raise NotKnown(_NO_ANSWER) from None
        found = msgspec.json.decode(answer["Payload"].read())
        if answer.get("FunctionError") or "users" not in found:
            raise NotKnown(without_commands(found.get("fault", "")) or _NO_ANSWER)
        return msgspec.convert(found, LeftOutNow)

    def changed_since(self, prepared: PreparedAudience) -> tuple[str, ...]:
        """Files of this bucket that are not those any more of which the audience was made."""
        inputs = [one for one in prepared.manifest.inputs if one.bucket == self._bucket][:MAX_CHECKED]
        parts = tuple(Part(one.key, one.bucket, None, one.etag) for one in inputs)
        return self._files.replaced_parts(parts)

    def expired_parts(self, prepared: PreparedAudience) -> tuple[str, ...]:
        """Its objects that have expired: their versions are kept for some time, which may be too short for a run."""
        return self._files.replaced_parts(prepared.parts[:MAX_CHECKED])  # the first are the oldest

    def keep(self, prepared: PreparedAudience) -> None:
        """Let it be kept for as long as a review and a run may take."""
        self._files.keep(prepared.parts)


def _read(key: str, found: ManifestRead) -> PreparedAudience | None:
    manifest = msgspec.json.decode(found.body, type=Manifest)
    if manifest.version > MANIFEST_VERSION:
        return None
    return PreparedAudience(key, int(found.made_at.timestamp() * 1000), manifest, found.version_id)
