"""Lets one sweep a day do a task: the first that writes the day into the ledger's table."""

from datetime import UTC, datetime
from typing import Any

from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from notifier.dynamodb import IS_NEW, condition_of, is_refused, item_of


def take_today(items: Any, table: str, name: str, now_s: float) -> bool:
    """Whether the caller is the first today (UTC) to take this task. A second one that asks is refused.

    Args:
        items: a boto3 DynamoDB client.
        name: the task's name, the sort key of its item.
    """
    today = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
    item = item_of({"pk": "sweeper", "sk": name, "day": today})
    is_first_today = IS_NEW | Attr("day").ne(today)
    try:
        items.put_item(TableName=table, Item=item, **condition_of(is_first_today))
    except ClientError as error:
        if is_refused(error):
            return False
        raise
    return True
