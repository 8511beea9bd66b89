"""What is under way in a stack, by the items of its table: runs, and what becomes a run or is counted of one.

The items are other functions' own. Each is read by the attributes that are public: `notifier.preparation_items`,
`notifier.decision_items`, and the occurrences of `schedules.store`.
"""

from typing import Any

import msgspec

from notifier.decision_items import decision_of
from notifier.dynamodb import text_of
from notifier.model.preparation import PreparationState
from notifier.model.remainder import DECISION
from notifier.model.run import Run
from notifier.preparation_items import COUNT, PREPARATION, is_order, preparation_of

OCCURRENCE = "occurrence"
"""What the name of an occurrence's preparation, and the sort key of its item, begin with."""
WITH_AUDIENCE = ("preparing", "needs_review")
"""States of an occurrence whose prepared audience is sent yet: it is being looked at, or an approver decides."""
_SCHEDULE = "schedule#"


class LedgerRun(msgspec.Struct, frozen=True):
    """A run as the ledger has it: the bucket and the key of its batch file, and whether it is closed."""

    bucket: str
    key: str
    is_closed: bool


class UnderWay(msgspec.Struct, frozen=True):
    """What the table says.

    Attributes:
        runs: all that the ledger knows, by their ids.
        counted: runs that are over, and whose users are being counted for caps.
        tests: runs of which the winner is not decided, or nothing has followed from the decision yet.
        prepared: the manifests of occurrences that are not sent yet, by the names of their preparations.
        preparing: what is asked for, by the names of what is being prepared and is no run's.
    """

    runs: dict[str, LedgerRun]
    counted: frozenset[str]
    tests: frozenset[str]
    prepared: dict[str, str]
    preparing: dict[str, str]


def read_table(dynamodb: Any, table: str) -> UnderWay:
    """Read the whole table."""
    runs: dict[str, LedgerRun] = {}
    preparations: dict[str, tuple[bool, str]] = {}
    requests: dict[str, str] = {}
    tests, waiting = set[str](), set[str]()
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table, ConsistentRead=True,
        FilterExpression="sk IN (:run, :preparation, :decision) OR begins_with(sk, :occurrence)",
        ExpressionAttributeValues={
            ":run": {"S": "run"}, ":preparation": {"S": PREPARATION}, ":decision": {"S": DECISION},
            ":occurrence": {"S": f"{OCCURRENCE}#"},
        },
    )  # fmt: skip
    for page in pages:
        for item in page["Items"]:
            name, kind = item["pk"]["S"].partition("#")[2], item["sk"]["S"]
            if kind == "run":
                source = msgspec.json.decode(item["run"]["S"], type=Run).source
                runs[name] = LedgerRun(source.bucket, source.key, "closed_at_ms" in item)
            elif kind == PREPARATION:
                found = preparation_of(item)
                requests[name] = found.request
                preparations[name] = (found.state.is_over, _made(found.state, found.manifest))
            elif kind == DECISION:
                if not decision_of(item).is_over:
                    tests.add(name)
            elif item["pk"]["S"].startswith(_SCHEDULE) and text_of(item, "state") in WITH_AUDIENCE:
                stamp, attempt = kind.partition("#")[2], item.get("attempt", {}).get("N", "0")
                waiting.add(f"{OCCURRENCE}:{name}:{stamp}:{attempt}")
    going_on = {name for name, (is_over, _) in preparations.items() if not is_over and _is_no_runs(name)}
    counted = frozenset(name.removeprefix(COUNT) for name in going_on if name.startswith(COUNT))
    return UnderWay(
        runs,
        counted,
        frozenset(tests),
        {name: preparations[name][1] for name in waiting if preparations.get(name, (True, ""))[1]},
        {name: requests[name] for name in going_on if not name.startswith(COUNT)},
    )


def _made(state: PreparationState, manifest: str) -> str:
    return manifest if state is PreparationState.PREPARED else ""


def _is_no_runs(name: str) -> bool:
    """Whether a preparation is not of a run, which has everything left to it anyway until it has begun."""
    return is_order(name) or name.startswith(f"{OCCURRENCE}:")
