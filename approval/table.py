"""A DynamoDB table whose items have a text key each, `pk` and `sk`."""

from typing import Any


class Table:
    """The table.

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
        """The items whose `sk` begins with the prefix, in its order: all of them, or the first so many."""
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if prefix:  # DynamoDB takes no empty one
            condition, values = f"{condition} AND begins_with(sk, :prefix)", values | {":prefix": {"S": prefix}}
        found: list[Any] = []
        start: dict[str, Any] = {}
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
