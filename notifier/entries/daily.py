"""What one sweep a day does: the first that writes the day down."""

from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError


def take_today(items: Any, table: str, name: str, now_s: float) -> bool:
    """Whether this is the first to ask for this task today (UTC).

    Args:
        items: a boto3 DynamoDB client.
        name: the task's, as the ledger's table keeps it.
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
