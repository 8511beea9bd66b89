"""The final cut of a run: what the run began with, the lists as they are now, and the cut of the prepared audience."""

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from audiences.cut import CutOrder, cut_folder, make_cut
from audiences.cut_rules import rules_of
from audiences.destinations import Bucket
from audiences.faults import AudienceFault
from audiences.manifest_format import MAX_USERS_IN_PART, NAME, Manifest, decode_manifest
from audiences.watch import Progress
from notifier.audience import AudienceChanged, AudienceUnreachable, BrokenFile, IdSet, Suppression, read_ids
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Campaign
from notifier.model.preparation import Preparation
from notifier.model.run import state_key


class SuppressionUnread(Exception):
    """The users whom every run leaves out cannot be read now: the run waits, however long. The message says why."""


class RunBeginning(msgspec.Struct, frozen=True):
    """What a run began with, as far as the cut needs it: `state/run_id=R/campaign.json`, which the worker stores."""

    campaign: Campaign
    exclude: tuple[PinnedObject, ...]
    prepared: str


class S3Cutter:
    """Makes the final cuts of a stack's runs.

    Args:
        client: a boto3 S3 client.
        bucket: the stack's.
        suppression: the prefix of the user ids that every run leaves out.
        now: seconds since the epoch.
    """

    def __init__(self, client: Any, bucket: str, suppression: str, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._destination = Bucket(client, bucket)
        self._suppression = suppression
        self._now = now

    def __call__(self, preparation: Preparation, work: Path, on_progress: Progress) -> str:
        """Make the cut and return the key of its manifest.

        Raises:
            SuppressionUnread: the run has to wait.
            AudienceFault, BrokenFile, AudienceChanged, AudienceUnreachable: it cannot be made.
        """
        run_id = preparation.run_id
        began = self._began_with(run_id)
        on_progress("the final cut: reading who is left out", 0)
        as_of = dt.datetime.fromtimestamp(self._now(), dt.UTC).isoformat(timespec="seconds")
        prepared = self._prepared(began.prepared)
        order = CutOrder(
            run_id=run_id,
            attempt=time.time_ns() // 1_000_000,
            prepared=began.prepared,
            parts=prepared.parts,
            rules=rules_of(self._excluded(began), self._suppressed(began)),
            as_of=as_of,
            # All parts but the last are full.
            max_users=prepared.parts[0].users if len(prepared.parts) > 1 else MAX_USERS_IN_PART,
            devices=prepared.counts.devices,
        )
        make_cut(order, self._client, self._destination, work, on_progress)
        return cut_folder(run_id) + NAME

    def _began_with(self, run_id: str) -> RunBeginning:
        stored = self._destination.read(state_key(run_id, "campaign"))
        if stored is None:
            raise AudienceFault("what the run began with (under state/) was deleted or has expired (WorkDays)")
        return msgspec.json.decode(stored, type=RunBeginning)

    def _prepared(self, key: str) -> Manifest:
        data = self._destination.read(key)
        if data is None:
            name = f"s3://{self._destination.bucket}/{key}"
            raise AudienceFault(f"{name}: the prepared audience is gone", "start the run again with a new file")
        return decode_manifest(data)

    def _excluded(self, began: RunBeginning) -> IdSet:
        return read_ids(self._client, began.exclude) if began.exclude else IdSet()

    def _suppressed(self, began: RunBeginning) -> IdSet:
        """Those whom every run leaves out, as they are now. None for what the law obliges to send."""
        if began.campaign.legal:
            return IdSet()
        try:
            return Suppression(self._client, self._destination.bucket, self._suppression).read()
        except (BrokenFile, AudienceChanged, AudienceUnreachable) as error:
            raise SuppressionUnread(f"the users whom every run leaves out cannot be read: {error}") from None
