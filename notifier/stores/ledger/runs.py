"""Runs and campaign ids: what is entered once and hardly changes."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.model.run import HAND_OVER_MS, LEDGER_VERSION, Lane, LaneState, Run
from notifier.stores.ledger.items import as_json, key, lane_item, lane_sk, n
from notifier.stores.ledger.table import Table, is_refused

MAX_NAMED_OBJECTS = 100
"""So many objects of a run's audience are entered; one that is cut into more is not found by all of them."""


class Runs(Table):
    """Enters runs, says who owns a campaign id, closes."""

    def open_run(self, run: Run) -> Run:
        """Enter a run and its lane, unless they are there already. Returns the run as the ledger has it."""
        now_ms = self._now_ms()
        self._put_new(key(run.run_id, "run") | {"run": {"S": as_json(run)}, "version": n(LEDGER_VERSION)})
        lane = Lane(run.run_id, due_at_ms=now_ms + HAND_OVER_MS)
        self._put_new(lane_item(lane))
        found = self.read_run(run.run_id)
        return found if found is not None else run

    def read_run(self, run_id: str) -> Run | None:
        """The run, or None."""
        item = self._get(key(run_id, "run"))
        if item is None:
            return None
        run = msgspec.json.decode(item["run"]["S"], type=Run)
        closed = item.get("closed_at_ms")
        campaign, opened = item.get("campaign_id"), item.get("opened_at_ms")
        return msgspec.structs.replace(
            run,
            campaign_id=campaign["S"] if campaign else run.campaign_id,
            closed_at_ms=int(closed["N"]) if closed else None,
            opened_at_ms=int(opened["N"]) if opened else None,
        )

    def approved_sha256(self, bucket: str, key: str) -> str | None:
        """Of the bytes that were approved under this key; the approval app writes it. None: nobody approved any."""
        item = self._get({"pk": {"S": f"approved#{bucket}/{key}"}, "sk": {"S": "approved"}})
        return str(item["sha256"]["S"]) if item is not None and "sha256" in item else None

    def name_campaign(self, run_id: str, campaign_id: str) -> None:
        """Note which campaign a run sends, whether or not it may, and enter the run under it, where people look."""
        self._client.update_item(
            TableName=self._table,
            Key=key(run_id, "run"),
            UpdateExpression="SET campaign_id = :c",
            ExpressionAttributeValues={":c": {"S": campaign_id}},
        )
        self._client.put_item(
            TableName=self._table, Item=self._of_campaign(campaign_id, {"S": f"run#{run_id}"}, run_id)
        )

    def note_opened(self, run_id: str) -> None:
        """Note that the run's campaign is stored: from now on a missing one is a lost one, and none is stored again."""
        self._client.update_item(
            TableName=self._table,
            Key=key(run_id, "run"),
            UpdateExpression="SET opened_at_ms = if_not_exists(opened_at_ms, :now)",
            ExpressionAttributeValues={":now": n(self._now_ms())},
        )

    def name_audience(self, run: Run, campaign_id: str, objects: Iterable[tuple[str, str]]) -> None:
        """Enter a run under the objects (bucket, key) that hold its users, where people look. Again: the same items."""
        for bucket, key_ in islice(dict.fromkeys(objects), MAX_NAMED_OBJECTS):
            item = {
                "pk": {"S": f"audience#{bucket}/{key_}"},
                "sk": {"S": f"run#{run.created_at_ms:015d}#{run.run_id}"},
                "version": n(LEDGER_VERSION),
                "run_id": {"S": run.run_id},
                "campaign_id": {"S": campaign_id},
                "at_ms": n(run.created_at_ms),
                "expires_at": self._expiry(),
            }
            self._client.put_item(TableName=self._table, Item=item)

    def runs_of(self, campaign_id: str) -> tuple[str, ...]:
        """The runs of a campaign id, the latest first: rehearsals and refused ones too."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :campaign",
            ExpressionAttributeValues={":campaign": {"S": f"campaign#{campaign_id}"}},
            ConsistentRead=True,
        )
        items = [item for page in pages for item in page["Items"]]
        items.sort(key=lambda item: int(item["at_ms"]["N"]), reverse=True)
        return tuple(dict.fromkeys(item["run_id"]["S"] for item in items))

    def owner_of(self, campaign_id: str) -> str | None:
        """The run that took a campaign's id, or None: another one with this id is refused, unless it says `again`."""
        item = self._get({"pk": {"S": f"campaign#{campaign_id}"}, "sk": {"S": "campaign"}})
        return str(item["run_id"]["S"]) if item is not None else None

    def _of_campaign(self, campaign_id: str, sk: dict[str, str], run_id: str) -> dict[str, Any]:
        return {
            "pk": {"S": f"campaign#{campaign_id}"},
            "sk": sk,
            "version": n(LEDGER_VERSION),
            "run_id": {"S": run_id},
            "at_ms": n(self._now_ms()),
            "expires_at": self._expiry(),
        }

    def take_campaign(self, campaign_id: str, run_id: str, *, again: bool) -> bool:
        """Make the run the owner of its campaign id. False when another run owns it already and `again` is not said.

        The first run of an id owns it, though it says `again`: a later one that does not say it is refused.
        """
        try:
            self._client.put_item(
                TableName=self._table,
                Item=self._of_campaign(campaign_id, {"S": "campaign"}, run_id),
                ConditionExpression="attribute_not_exists(pk) OR run_id = :me",
                ExpressionAttributeValues={":me": {"S": run_id}},
            )
        except ClientError as error:
            if is_refused(error):
                return again
            raise
        return True

    def close_run(self, run_id: str, lane: int = 0) -> None:
        """Note that the run's summary and event are out; nobody needs to look at it again."""
        now_ms = self._now_ms()
        self._client.update_item(
            TableName=self._table,
            Key=key(run_id, "run"),
            UpdateExpression="SET closed_at_ms = if_not_exists(closed_at_ms, :now)",
            ExpressionAttributeValues={":now": n(now_ms)},
        )
        self._client.update_item(
            TableName=self._table,
            Key=key(run_id, lane_sk(lane)),
            UpdateExpression="REMOVE due, due_at",
            ConditionExpression="#state = :done",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":done": {"S": LaneState.DONE.value}},
        )
