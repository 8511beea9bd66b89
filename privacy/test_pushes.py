"""Erases users from the test pushes of the approval pages: each names the user whose attributes it has."""

import msgspec
from boto3.dynamodb.conditions import Attr

from notifier.dynamodb import Item, Update, text_of
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
            found: Item | None = item
            while found is not None and _has_sample(found, whom):
                found = _without_sample(stack, found)
                count += found is None
    return count


def _has_sample(item: Item, whom: Whom) -> bool:
    return msgspec.json.decode(text_of(item, "data")).get("sample") in whom


def _without_sample(stack: Stack, item: Item) -> Item | None:
    """Take the sample user out of a test push. What stands there now, where that is something else; else None."""
    before = text_of(item, "data")
    test = msgspec.json.decode(before) | {"sample": ""}
    # The pages may write what became of the push in this moment.
    update = Update().set(data=msgspec.json.encode(test).decode()).only_if(Attr("data").eq(before))
    key = {name: item[name] for name in ("pk", "sk")}
    try:
        stack.dynamodb.update_item(
            TableName=stack.approval_table, Key=key, ReturnValuesOnConditionCheckFailure="ALL_OLD", **update.arguments()
        )
    except stack.dynamodb.exceptions.ConditionalCheckFailedException as error:
        # Nothing is there where it has expired.
        found: Item = error.response.get("Item", {})
        return found or None
    return None
