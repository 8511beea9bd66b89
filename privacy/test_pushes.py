"""Erases users from the test pushes of the approval pages: each names the user whose attributes it has."""

from typing import Any

import msgspec

from privacy.stack import Stack
from privacy.whom import Whom


def erase_test_pushes(stack: Stack, whom: Whom) -> int:
    """Take the users out. Returns of how many test pushes."""
    if stack.approval_table is None:
        return 0
    count = 0
    pages = stack.dynamodb.get_paginator("scan").paginate(
        TableName=stack.approval_table, FilterExpression="begins_with(sk, :test)", ConsistentRead=True,
        ExpressionAttributeValues={":test": {"S": "test#"}},
    )  # fmt: skip
    for page in pages:
        for item in page["Items"]:
            found: dict[str, Any] | None = item
            while found is not None and _has_sample(found, whom):
                found = _without_sample(stack, found)
                count += found is None
    return count


def _has_sample(item: dict[str, Any], whom: Whom) -> bool:
    return msgspec.json.decode(item["data"]["S"]).get("sample") in whom


def _without_sample(stack: Stack, item: dict[str, Any]) -> dict[str, Any] | None:
    """Take the sample user out of a test push. What stands there now, where that is something else; else None."""
    test = msgspec.json.decode(item["data"]["S"]) | {"sample": ""}
    try:
        stack.dynamodb.update_item(
            TableName=stack.approval_table, Key={name: item[name] for name in ("pk", "sk")},
            # The pages may write what became of the push in this moment.
            UpdateExpression="SET #data = :data", ConditionExpression="#data = :before",
            ExpressionAttributeNames={"#data": "data"},
            ExpressionAttributeValues={
                ":data": {"S": msgspec.json.encode(test).decode()}, ":before": item["data"],
            },
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )  # fmt: skip
    except stack.dynamodb.exceptions.ConditionalCheckFailedException as error:
        # Nothing is there where it has expired.
        found: dict[str, Any] | None = error.response.get("Item")
        return found or None
    return None
