"""What each approver has looked at of a request: which of its texts, and of which content.

In the approval app's table, beside the request, so that it holds on every device of the approver and without a script:

| pk | sk | holds |
|---|---|---|
| `request#ID` | `content#HASH` | what was sent for review with this hash: to say later what has changed |
| `request#ID` | `seen#MAILBOX#HASH` | the texts of that content that this person has looked at, and when the last one |
"""

from collections.abc import Sequence

import msgspec

from approval.form import Form
from approval.store import KEEP_S
from approval.table import Table
from notifier.dynamodb import item_of
from notifier.model.mailbox import mailbox_of


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was sent for review: the form, and how many users its audience had. `at_ms` is when."""

    form: Form
    users: int
    at_ms: int


class Looked(msgspec.Struct, frozen=True):
    """What one person has looked at of one content."""

    content_hash: str
    texts: frozenset[str] = frozenset()
    at_ms: int = 0


class Looks(Table):
    """Keeps them."""

    def keep(self, id_: str, content_hash: str, content: Content) -> None:
        """Keep what is sent for review. The same content again is the same item."""
        data = msgspec.json.encode(content).decode()
        expires_at = content.at_ms // 1000 + KEEP_S
        item = item_of(
            {"pk": f"request#{id_}", "sk": f"content#{content_hash}", "data": data, "expires_at": expires_at}
        )
        self._client.put_item(TableName=self._table, Item=item)

    def content(self, id_: str, content_hash: str) -> Content | None:
        """What was sent for review with this hash; None where an earlier release did it."""
        item = self._get(f"request#{id_}", f"content#{content_hash}")
        return msgspec.json.decode(item["data"]["S"], type=Content) if item is not None else None

    def look(self, id_: str, email: str, content_hash: str, texts: Sequence[str], now_ms: int) -> None:
        """Note that a person has looked at these texts; without any, that they have looked at the content."""
        values = {":at_ms": {"N": str(now_ms)}, ":expires_at": {"N": str(now_ms // 1000 + KEEP_S)}}
        added = {":texts": {"SS": sorted(texts)}} if texts else {}  # DynamoDB knows no empty set
        # Adding to a set is atomic: two devices of one person at once lose nothing of each other.
        self._client.update_item(
            TableName=self._table,
            Key=item_of({"pk": f"request#{id_}", "sk": f"seen#{mailbox_of(email)}#{content_hash}"}),
            UpdateExpression=f"{'ADD texts :texts ' if added else ''}SET at_ms = :at_ms, expires_at = :expires_at",
            ExpressionAttributeValues=values | added,
        )

    def of(self, id_: str, email: str) -> tuple[Looked, ...]:
        """What a person has looked at, of each content that the request has had; the latest first."""
        found = [
            Looked(
                item["sk"]["S"].rpartition("#")[2],
                frozenset(item.get("texts", {}).get("SS", ())),
                int(item["at_ms"]["N"]),
            )
            for item in self._items(f"request#{id_}", f"seen#{mailbox_of(email)}#")
        ]
        return tuple(sorted(found, key=lambda one: one.at_ms, reverse=True))
