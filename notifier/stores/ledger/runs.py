"""Runs and campaign ids: what is entered once and hardly changes."""

from collections.abc import Iterable
from itertools import islice

import msgspec
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from notifier.dynamodb import IS_NEW, Item, Update, Value, condition_of, is_refused, item_of, query_of
from notifier.model.ledger import Approval
from notifier.model.remainder import DECISION
from notifier.model.run import HAND_OVER_MS, Lane, Run
from notifier.stores.ledger.items import as_json, new_lane, number_in, run_key, text_in
from notifier.stores.ledger.table import Table

MAX_NAMED_OBJECTS = 100
"""Most objects of a run's audience that are entered, because each is a write. A run is found by no further ones."""


class Runs(Table):
    """The ledger's part for runs as a whole: enters them, names their campaign and audience, closes them."""

    def open_run(self, run: Run) -> Run:
        """Enter a run and its lane, unless they are there already. Returns the run as the ledger has it."""
        now_ms = self._now_ms()
        self._put_new(pk=f"run#{run.run_id}", sk="run", run=as_json(run))
        # After the run: a lane is found by the sweeper, which then needs its run. A crash in between leaves a run
        # without a lane, which the next event about it completes.
        self._put_new(**new_lane(Lane(run.run_id, due_at_ms=now_ms + HAND_OVER_MS)))
        return self.read_run(run.run_id) or run

    def read_run(self, run_id: str) -> Run | None:
        """The run, or None."""
        item = self._get(run_key(run_id))
        if item is None:
            return None
        run = msgspec.json.decode(item["run"]["S"], type=Run)
        return msgspec.structs.replace(
            run,
            campaign_id=text_in(item, "campaign_id") or run.campaign_id,
            closed_at_ms=number_in(item, "closed_at_ms"),
            opened_at_ms=number_in(item, "opened_at_ms"),
            counted_by=text_in(item, "counted_by") or "",
        )

    def note_opened(self, run_id: str, counted_by: str = "") -> None:
        """Note that the run's campaign is stored: from now on a missing one is a lost one, and none is stored again."""
        update = Update().set_first(opened_at_ms=self._now_ms())
        self._update(run_key(run_id), update.set_first(counted_by=counted_by) if counted_by else update)

    def await_decision(self, run_id: str, after_ms: int) -> None:
        """Enter that the winner of this test is to be decided, in so many milliseconds at the earliest. Repeatable."""
        due_at = self._now_ms() + after_ms
        # A partition of its own: releases that know no winners read the lanes' only.
        self._put_new(pk=f"{DECISION}#{run_id}", sk=DECISION, state="waiting", due=DECISION, due_at=due_at)

    # -- campaigns ----------------------------------------------------------------------------------------------------

    def name_campaign(self, run_id: str, campaign_id: str) -> None:
        """Note which campaign a run sends, whether or not it may, and enter the run under it, where people look."""
        self._update(run_key(run_id), Update().set(campaign_id=campaign_id))
        self._put(**self._of_campaign(campaign_id, f"run#{run_id}", run_id))

    def take_campaign(self, campaign_id: str, run_id: str, *, again: bool) -> bool:
        """Make the run the owner of its campaign id. False when another run owns it already and `again` is not set.

        The first run of an id owns it, though its file has `again`: a later run whose file does not is refused.
        """
        item = self._item(self._of_campaign(campaign_id, "campaign", run_id))
        # The owner may take it once more: a claim that crashed here is repeated, and so is a write without an answer.
        is_free_or_ours = IS_NEW | Attr("run_id").eq(run_id)
        try:
            self._client.put_item(TableName=self._table, Item=item, **condition_of(is_free_or_ours))
        except ClientError as error:
            if is_refused(error):
                return again
            raise
        return True

    def owner_of(self, campaign_id: str) -> str | None:
        """The run that owns a campaign id, or None. Others with the id are refused unless their file has `again`."""
        item = self._get(item_of({"pk": f"campaign#{campaign_id}", "sk": "campaign"}))
        return text_in(item, "run_id") if item is not None else None

    def runs_of(self, campaign_id: str) -> tuple[str, ...]:
        """The runs of a campaign id, the latest first: rehearsals and refused ones too."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table, ConsistentRead=True, **query_of(Key("pk").eq(f"campaign#{campaign_id}"))
        )
        items: list[Item] = [item for page in pages for item in page["Items"]]
        items.sort(key=lambda item: int(item["at_ms"]["N"]), reverse=True)
        # The owner is there twice: as the owner, and as a run.
        return tuple(dict.fromkeys(item["run_id"]["S"] for item in items))

    def _of_campaign(self, campaign_id: str, sk: str, run_id: str) -> dict[str, Value]:
        return {"pk": f"campaign#{campaign_id}", "sk": sk, "run_id": run_id, "at_ms": self._now_ms()}

    # -- audiences and approvals --------------------------------------------------------------------------------------

    def name_audience(self, run: Run, campaign_id: str, objects: Iterable[tuple[str, str]]) -> None:
        """Enter a run under the objects (bucket, key) that hold its users, where people look.

        The keys hold nothing that changes between two claims: entered again, the same items are written.
        """
        for bucket, key in islice(dict.fromkeys(objects), MAX_NAMED_OBJECTS):
            self._put(
                pk=f"audience#{bucket}/{key}",
                sk=f"run#{run.created_at_ms:015d}#{run.run_id}",  # padded: the order of keys is that of time
                run_id=run.run_id,
                campaign_id=campaign_id,
                at_ms=run.created_at_ms,
            )

    def approval(self, bucket: str, key: str) -> Approval | None:
        """Which bytes are approved under this key (SHA-256, hexadecimal), and by whom. None: none are."""
        item = self._get(item_of({"pk": f"approved#{bucket}/{key}", "sk": "approved"}))
        if item is None or (sha256 := text_in(item, "sha256")) is None:
            return None
        return Approval(sha256, text_in(item, "approved_by") or "")
