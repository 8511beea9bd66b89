"""Expressions of DynamoDB's requests, built from attributes and values: no other module writes an expression's text.

Conditions are boto3's (`Attr("epoch").eq(3) & Attr("state").eq("running")`), and so is the builder of their
expressions. boto3 has no builder for updates; `Update` is one.

Attributes are given by name, values as plain texts and whole numbers. Every name becomes a placeholder, because many of
ours are words that DynamoDB reserves (`state`, `cursor`, `result`, `status`…).
"""

from collections.abc import Iterator, Mapping
from functools import reduce
from operator import and_
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr, ConditionBase, ConditionExpressionBuilder
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError

Value = str | int
"""What attributes hold here. Structures are stored as the text of their JSON."""
Item = dict[str, Any]
"""An item as the client takes and gives it: `{"pk": {"S": "run#1"}, "epoch": {"N": "3"}}`."""

IS_NEW = Attr("pk").not_exists()
"""There is no item of this key yet."""
_IS_THERE = Attr("pk").exists()

_serialize = TypeSerializer().serialize


class Update(msgspec.Struct, frozen=True):
    """One update of an item: what it changes, and on which conditions, all of which must be met.

    Every method returns another update, so that one can be made in several places and extended by each of them.
    """

    sets: Mapping[str, Value] = {}
    first_sets: Mapping[str, Value] = {}
    adds: Mapping[str, int] = {}
    removes: tuple[str, ...] = ()
    conditions: tuple[ConditionBase, ...] = ()

    def set(self, **values: Value) -> "Update":
        """Set attributes."""
        return msgspec.structs.replace(self, sets={**self.sets, **values})

    def set_first(self, **values: Value) -> "Update":
        """Set attributes that the item does not have yet; those it has keep their value."""
        return msgspec.structs.replace(self, first_sets={**self.first_sets, **values})

    def add(self, **numbers: int) -> "Update":
        """Add to numbers. An attribute that the item does not have counts as 0."""
        return msgspec.structs.replace(self, adds={**self.adds, **numbers})

    def remove(self, *names: str) -> "Update":
        """Remove attributes."""
        return msgspec.structs.replace(self, removes=(*self.removes, *names))

    def only_if(self, *conditions: ConditionBase) -> "Update":
        """Write only if these conditions are met, too."""
        return msgspec.structs.replace(self, conditions=(*self.conditions, *conditions))

    def arguments(self) -> dict[str, Any]:
        """The arguments of `update_item` that say all this."""
        # The placeholders are the attributes' names (`#cursor = :cursor`), so that a trace of the call can be read.
        # Those of conditions are numbered by boto3 (`#n0 = :v0`): the two never meet.
        clauses = {
            "SET": [f"#{name} = :{name}" for name in self.sets]
            + [f"#{name} = if_not_exists(#{name}, :{name})" for name in self.first_sets],
            "ADD": [f"#{name} :{name}" for name in self.adds],
            "REMOVE": [f"#{name}" for name in self.removes],
        }
        values = {**self.sets, **self.first_sets, **self.adds}
        return {
            "UpdateExpression": " ".join(f"{word} {', '.join(parts)}" for word, parts in clauses.items() if parts),
            **_with_placeholders(
                {"ConditionExpression": reduce(and_, self.conditions)} if self.conditions else {},
                names={f"#{name}": name for name in (*values, *self.removes)},
                values={f":{name}": value for name, value in values.items()},
            ),
        }


def condition_of(condition: ConditionBase) -> dict[str, Any]:
    """The arguments of `put_item` or `delete_item` that make it conditional."""
    return _with_placeholders({"ConditionExpression": condition})


def query_of(key: ConditionBase, only: ConditionBase | None = None) -> dict[str, Any]:
    """The arguments of `query`: the key's condition (of boto3's `Key`), and what is left out of the answer."""
    return _with_placeholders({"KeyConditionExpression": key} | ({} if only is None else {"FilterExpression": only}))


def _with_placeholders(
    conditions: Mapping[str, ConditionBase],
    names: Mapping[str, str] = {},
    values: Mapping[str, Value] = {},
) -> dict[str, Any]:
    """Conditions as expressions, with the placeholders of the whole request."""
    builder, arguments = ConditionExpressionBuilder(), dict[str, Any]()
    all_names, all_values = dict(names), dict[str, Any](values)
    for argument, condition in conditions.items():
        built = builder.build_expression(condition, is_key_condition=argument == "KeyConditionExpression")
        arguments[argument] = built.condition_expression
        all_names |= built.attribute_name_placeholders
        all_values |= built.attribute_value_placeholders
    # DynamoDB refuses a request whose placeholders are given and empty.
    if all_names:
        arguments["ExpressionAttributeNames"] = all_names
    if all_values:
        arguments["ExpressionAttributeValues"] = item_of(all_values)
    return arguments


def item_of(values: Mapping[str, Value]) -> Item:
    """An item, or a key, with these attributes."""
    return {name: _serialize(value) for name, value in values.items()}


def text_of(item: Item, name: str) -> str:
    """A text of an item; "" without the attribute."""
    return str(item[name]["S"]) if name in item else ""


def number_of(item: Item, name: str) -> int:
    """A whole number of an item; 0 without the attribute."""
    return int(item[name]["N"]) if name in item else 0


class Items:
    """The items of a table: read consistently, written on conditions that may not be met.

    Args:
        client: a boto3 DynamoDB client (thread-safe).
    """

    def __init__(self, client: Any, table: str) -> None:
        self.client = client
        self.table = table

    def get(self, key: Item) -> Item | None:
        """An item, or None."""
        # Consistent: what is read here decides on what is written next.
        item: Item | None = self.client.get_item(TableName=self.table, Key=key, ConsistentRead=True).get("Item")
        return item

    def put_new(self, values: Mapping[str, Value]) -> bool:
        """Write an item that there is none of yet. False where there is one: it stays."""
        try:
            self.client.put_item(TableName=self.table, Item=item_of(values), **condition_of(IS_NEW))
        except ClientError as error:
            if is_refused(error):
                return False
            raise
        return True

    def update(self, key: Item, update: Update) -> Item | None:
        """Update an item; returns all of it, or None where a condition is not met, or there is no such item."""
        try:
            # An update of a key without an item would make one, of which most attributes are missing.
            arguments = update.only_if(_IS_THERE).arguments()
            answer = self.client.update_item(TableName=self.table, Key=key, ReturnValues="ALL_NEW", **arguments)
        except ClientError as error:
            if is_refused(error):
                return None
            raise
        item: Item = answer["Attributes"]
        return item

    def query(self, key: ConditionBase, **about: Any) -> Iterator[Item]:
        """The items that a key's condition finds."""
        pages = self.client.get_paginator("query").paginate(TableName=self.table, **about, **query_of(key))
        for page in pages:
            yield from page["Items"]


def is_refused(error: ClientError) -> bool:
    """Whether a write's condition was not met; every other error is one."""
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"
