"""Reads items of a DynamoDB table with a partition key `pk` and a sort key `sk`, both texts."""

from typing import Any

from boto3.dynamodb.conditions import Key

from notifier.dynamodb import Item, item_of, query_of


class Table:
    """The base of what reads and writes one table.

    Args:
        client: a boto3 DynamoDB client.
        table: its name.
    """

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    def _get(self, pk: str, sk: str) -> Item | None:
        # Consistent: after each step the page is shown as the step has left it.
        answer = self._client.get_item(TableName=self._table, Key=item_of({"pk": pk, "sk": sk}), ConsistentRead=True)
        item: Item | None = answer.get("Item")
        return item

    def _items(
        self, pk: str, prefix: str = "", *, newest_first: bool = False, limit: int | None = None, before: str = ""
    ) -> list[Item]:
        """The items whose `sk` begins with the prefix, in the order of `sk`: all of them, or the first `limit`.

        Args:
            before: of all of them instead, with `newest_first`: only what is before this `sk`.
        """
        # DynamoDB accepts no empty prefix.
        key = Key("pk").eq(pk) & Key("sk").begins_with(prefix) if prefix else Key("pk").eq(pk)
        if before:
            key = Key("pk").eq(pk) & Key("sk").lt(before)
        found: list[Item] = []
        start: dict[str, Any] = {}
        # One answer holds at most 1 MB: it may end before the last item, and then names where to go on.
        while limit is None or len(found) < limit:
            answer = self._client.query(
                TableName=self._table,
                ScanIndexForward=not newest_first,
                ConsistentRead=True,
                **query_of(key),
                **start,
                **({} if limit is None else {"Limit": limit - len(found)}),
            )
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                break
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return found
