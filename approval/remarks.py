"""What people add to a request beside its content: comments, tags, and that it is archived.

In the approval app's table, apart from the request. So none of it is in the hash of the content that approvers decide
on, and none makes a form out of date that is open in another window.

| pk | sk | holds |
|---|---|---|
| `request#ID` | `comment#TIME#NONCE` | one comment |
| `beside` | `TIME#ID`, as in the list | what the list shows: `tags` (a set), `comments` (how many), `archived` |
"""

import secrets
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from approval.request import Request
from approval.store import KEEP_S, Conflict, ListedRequest, place_of
from approval.table import Table
from notifier.dynamodb import Item, Update, is_refused, item_of, number_of, query_of, text_of

MAX_COMMENTS = 200
MAX_TAGS = 8
_TRIES = 6
"""How often a comment is written when another one is at the same moment."""
_PK = "beside"


class Comment(msgspec.Struct, frozen=True):
    """What a person has said about a request. Times: milliseconds since the epoch."""

    by: str
    at_ms: int
    text: str


class Beside(msgspec.Struct, frozen=True):
    """What the list shows of a request beside its content. `tags` are by alphabet."""

    tags: tuple[str, ...] = ()
    comments: int = 0
    is_archived: bool = False


NOTHING = Beside()


class TooMany(Exception):
    """The request has as many comments, or tags, as it may have."""


class Remarks(Table):
    """Keeps them."""

    def add_comment(self, request: Request, comment: Comment) -> None:
        """Add a comment, and count it for the list: both, or neither. Raises TooMany, and Conflict."""
        expires_at = comment.at_ms // 1000 + KEEP_S
        # Padded, so that the order of keys is that of time; the nonce keeps apart two comments of one millisecond.
        sk = f"comment#{comment.at_ms:015d}#{secrets.token_hex(4)}"
        item = {"pk": f"request#{request.id}", "sk": sk, "data": msgspec.json.encode(comment).decode()}
        # The limit is a condition, because several people may comment at once.
        has_room = Attr("comments").not_exists() | Attr("comments").lt(MAX_COMMENTS)
        count = Update().add(comments=1).set(**_kept(comment.at_ms // 1000)).only_if(has_room).arguments()
        actions = [
            {"Put": {"TableName": self._table, "Item": item_of({**item, "expires_at": expires_at})}},
            {"Update": {"TableName": self._table, "Key": _key(request), **count}},
        ]
        for _ in range(_TRIES):
            if self._is_written(actions):
                return
        raise Conflict(request.id)

    def _is_written(self, actions: list[dict[str, Any]]) -> bool:
        """Write all of it; False where another one was at the same item in this moment. Raises TooMany."""
        try:
            self._client.transact_write_items(TransactItems=actions)
        except ClientError as error:
            reasons = [one.get("Code") for one in error.response.get("CancellationReasons", ())]
            if "ConditionalCheckFailed" in reasons:
                raise TooMany from None
            if error.response["Error"]["Code"] not in ("TransactionCanceledException", "TransactionConflictException"):
                raise
            return False
        return True

    def comments(self, id_: str) -> tuple[Comment, ...]:
        """The comments on a request, the oldest first."""
        found = self._items(f"request#{id_}", "comment#")
        return tuple(msgspec.json.decode(item["data"]["S"], type=Comment) for item in found)

    def add_tags(self, request: Request, tags: frozenset[str], now_s: int) -> None:
        """Add tags. Raises TooMany."""
        # Adding to a set is atomic: of two people at once neither takes the other's tag away. So many at most that
        # there is room for all of them, as if each were new.
        has_room = Attr("tags").not_exists() | Attr("tags").size().lte(MAX_TAGS - len(tags))
        arguments = Update().set(**_kept(now_s)).only_if(has_room).arguments()
        arguments["UpdateExpression"] += " ADD tags :tags"
        arguments["ExpressionAttributeValues"][":tags"] = {"SS": sorted(tags)}
        if not self._update(request, arguments):
            raise TooMany

    def remove_tag(self, request: Request, tag: str, now_s: int) -> None:
        """Remove a tag, if the request has it."""
        arguments = Update().set(**_kept(now_s)).arguments()
        arguments["UpdateExpression"] += " DELETE tags :tags"
        arguments["ExpressionAttributeValues"][":tags"] = {"SS": [tag]}
        self._update(request, arguments)

    def archive(self, request: Request, now_s: int) -> bool:
        """Keep the request out of the list. False where it is out of it already."""
        update = Update().set(archived="yes", **_kept(now_s)).only_if(Attr("archived").not_exists())
        return self._update(request, update.arguments())

    def unarchive(self, request: Request, now_s: int) -> bool:
        """Have it in the list again. False where it is in it."""
        update = Update().set(**_kept(now_s)).remove("archived").only_if(Attr("archived").exists())
        return self._update(request, update.arguments())

    def _update(self, request: Request, arguments: dict[str, Any]) -> bool:
        """Change what is beside a request; False where the condition is not met. Raises Conflict."""
        try:
            self._client.update_item(TableName=self._table, Key=_key(request), **arguments)
        except ClientError as error:
            if is_refused(error):
                return False
            # A comment, which is written together with its count, is being written to the same item in this moment.
            if error.response["Error"]["Code"] == "TransactionConflictException":
                raise Conflict(request.id) from None
            raise
        return True

    def of(self, request: Request) -> Beside:
        """What is beside one request."""
        item = self._get(_PK, place_of(request))
        return NOTHING if item is None else _beside(item)

    def listed(self, oldest: ListedRequest, newest: ListedRequest) -> dict[str, Beside]:
        """What is beside the requests from one place of the list to another, by place."""
        key = Key("pk").eq(_PK) & Key("sk").between(place_of(oldest), place_of(newest))
        found: dict[str, Beside] = {}
        start: dict[str, Any] = {}
        while True:
            answer = self._client.query(TableName=self._table, ConsistentRead=True, **query_of(key), **start)
            found |= {text_of(item, "sk"): _beside(item) for item in answer["Items"]}
            if "LastEvaluatedKey" not in answer:
                return found
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def _key(request: Request) -> Item:
    return item_of({"pk": _PK, "sk": place_of(request)})


def _kept(now_s: int) -> dict[str, int]:
    # A request may be written to until weeks after this, and is kept from then: what is beside it outlives it.
    return {"expires_at": now_s + 2 * KEEP_S}


def _beside(item: Item) -> Beside:
    return Beside(tuple(sorted(item.get("tags", {}).get("SS", ()))), number_of(item, "comments"), "archived" in item)
