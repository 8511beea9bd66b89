"""The last preview of each schedule: whom its next time would have reached, as of then.

Making one costs what the query costs, so the page shows the last one with its time. In the approval app's table; no
user is in it: those to look at are in the audience's manifest.

| pk | sk | holds |
|---|---|---|
| `schedule#NAME` | `preview` | the preview, for 30 days, as long as prepared audiences are kept |
"""

import msgspec

from approval.prepared import LeftOutNow
from approval.table import Table
from notifier.dynamodb import item_of

KEEP_S = 30 * 86_400


class LastPreview(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom a time of a schedule would reach.

    Args:
        hash: of the texts that it was made by.
        occurrence: the time, by the schedule's own clock.
        manifest: the key of the audience that was made.
        left_out: whom the final cut would leave out; None where that was not known.
    """

    hash: str
    occurrence: str
    at_ms: int
    users: int
    manifest: str
    left_out: LeftOutNow | None = None


class SchedulePreviews(Table):
    """Keeps them."""

    def keep(self, name: str, preview: LastPreview) -> None:
        """Keep a preview in place of the one before."""
        data = msgspec.json.encode(preview).decode()
        expires_at = preview.at_ms // 1000 + KEEP_S
        item = item_of({"pk": f"schedule#{name}", "sk": "preview", "data": data, "expires_at": expires_at})
        self._client.put_item(TableName=self._table, Item=item)

    def last(self, name: str, now_s: int) -> LastPreview | None:
        """The last one; None where none was made within 30 days."""
        item = self._get(f"schedule#{name}", "preview")
        # DynamoDB deletes what has expired within days, not at once.
        if item is None or int(item["expires_at"]["N"]) < now_s:
            return None
        return msgspec.json.decode(item["data"]["S"], type=LastPreview)
