"""Lets one sweep a day do a task: the first that writes the day into the ledger's table."""

from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError


def take_today(items: Any, table: str, name: str, now_s: float) -> bool:
    """Whether the caller is the first today (UTC) to take this task. A second one that asks is refused.

    Args:
        items: a boto3 DynamoDB client.
        name: the task's name, the sort key of its item.
    """
    today = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
    try:
        items.put_item(
            TableName=table,
            Item={"pk": {"S": "sweeper"}, "sk": {"S": name}, "day": {"S": today}},
            ConditionExpression="attribute_not_exists(pk) OR #day <> :today",
            ExpressionAttributeNames={"#day": "day"},
            ExpressionAttributeValues={":today": {"S": today}},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True
