"""Once a day: deletes published versions of the worker that no run needs.

A run stays on the version of the code that it began with, so deployments leave versions behind, and Lambda's 75 GB for
code are shared by everything in the account.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from notifier.entries.daily import take_today
from notifier.model.run import LaneState

NEWEST = 3
"""So many of the newest versions are kept whatever happens, for a roll-back."""
YOUNG_S = 86_400
"""A version published within this time is kept too: Lambda may still have events for it."""
MOST = 20
"""Versions that are deleted at once, at most: the sweeper has a minute."""


class Pruner:
    """Prunes one function's versions.

    Args:
        functions: a boto3 Lambda client.
        items: a boto3 DynamoDB client.
        function: the worker's name or ARN, with or without an alias.
        table: the ledger's table.
        now: seconds since the epoch.
    """

    def __init__(self, functions: Any, items: Any, function: str, table: str, now: Callable[[], float]) -> None:
        self._functions = functions
        self._items = items
        self._function = _unqualified(function)
        self._table = table
        self._now = now

    def prune_daily(self) -> tuple[str, ...]:
        """Prune, unless that was done today. Returns the versions that were deleted."""
        return self.prune() if take_today(self._items, self._table, "pruned", self._now()) else ()

    def prune(self) -> tuple[str, ...]:
        """Delete every version that is not an alias's, not an unfinished run's, and not new."""
        published = sorted(self._published(), key=lambda version: -int(version["Version"]))
        needed = self._aliased() | self._in_use()
        deleted: list[str] = []
        for version in published[NEWEST:]:
            number = version["Version"]
            is_young = self._now() - _modified_at(version) < YOUNG_S
            if number in needed or is_young or len(deleted) == MOST:
                continue
            self._functions.delete_function(FunctionName=self._function, Qualifier=number)
            deleted.append(number)
        return tuple(deleted)

    def _published(self) -> Iterator[dict[str, Any]]:
        pages = self._functions.get_paginator("list_versions_by_function").paginate(FunctionName=self._function)
        for page in pages:
            yield from (version for version in page["Versions"] if version["Version"].isdigit())

    def _aliased(self) -> set[str]:
        pages = self._functions.get_paginator("list_aliases").paginate(FunctionName=self._function)
        found: set[str] = set()
        for page in pages:
            for alias in page["Aliases"]:
                found |= {alias["FunctionVersion"], *alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})}
        return found

    def _in_use(self) -> set[str]:
        """The versions that unfinished runs began with, those included that wait for an operator."""
        pages = self._items.get_paginator("scan").paginate(
            TableName=self._table,
            FilterExpression="begins_with(sk, :lane) AND #state <> :done",
            ProjectionExpression="function_version",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":lane": {"S": "lane#"}, ":done": {"S": LaneState.DONE.value}},
        )
        return {item["function_version"]["S"] for page in pages for item in page["Items"] if "function_version" in item}


def _modified_at(version: dict[str, Any]) -> float:
    """When the version was published, seconds since the epoch; Lambda writes `2026-11-21T12:00:00.000+0000`."""
    return datetime.strptime(version["LastModified"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def _unqualified(function: str) -> str:
    parts = function.split(":")
    return ":".join(parts[:7]) if function.startswith("arn:") else parts[0]
