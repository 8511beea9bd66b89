"""Reads items of a DynamoDB table with a partition key `pk` and a sort key `sk`, both texts."""

from typing import Any


class Table:
    """The base of what reads and writes one table.

    Args:
        client: a boto3 DynamoDB client.
        table: its name.
    """

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    def _get(self, pk: str, sk: str) -> Any:
        answer = self._client.get_item(
            TableName=self._table, Key={"pk": {"S": pk}, "sk": {"S": sk}}, ConsistentRead=True
        )
        return answer.get("Item")

    def _items(self, pk: str, prefix: str = "", *, newest_first: bool = False, limit: int | None = None) -> list[Any]:
        """The items whose `sk` begins with the prefix, in the order of `sk`: all of them, or the first `limit`."""
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if prefix:  # DynamoDB takes no empty text here
            condition, values = f"{condition} AND begins_with(sk, :prefix)", values | {":prefix": {"S": prefix}}
        found: list[Any] = []
        start: dict[str, Any] = {}
        # One answer holds at most 1 MB: it may end before the last item, and then names where to go on.
        while limit is None or len(found) < limit:
            answer = self._client.query(
                TableName=self._table,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ScanIndexForward=not newest_first,
                ConsistentRead=True,
                **start,
                **({} if limit is None else {"Limit": limit - len(found)}),
            )
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                break
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return found
