"""Links, sessions and rate limits, in the approval app's table. All of them expire.

| pk | sk | holds |
|---|---|---|
| `link#HASH` | `link` | a link that was not used yet; deleted by its use |
| `session#HASH` | `session` | the address of a person who is signed in; deleted by signing out |
| `limit#WHAT#HASH` | `WINDOW` | how often something was asked for in this window of time |

Secrets (links, sessions) are held as SHA-256 only.
"""

from hashlib import sha256

import msgspec
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from approval.table import Table
from notifier.dynamodb import Update, condition_of, is_refused, item_of


class LinkData(msgspec.Struct, frozen=True):
    """For whom a link is, and the page that it leads to."""

    email: str
    next: str


def hashed(secret: str) -> str:
    """A secret as it is stored: who reads the table cannot sign in with what is there."""
    return sha256(secret.encode()).hexdigest()


class Access(Table):
    """Links, sessions and limits."""

    def keep_link(self, secret: str, link: LinkData, expires_at_s: int) -> None:
        """Store a new link."""
        self._keep("link", secret, msgspec.json.encode(link).decode(), expires_at_s)

    def link(self, secret: str, now_s: int) -> LinkData | None:
        """What a link is for, without using it; None when it was used, has expired, or never was."""
        item = self._get(f"link#{hashed(secret)}", "link")
        # DynamoDB deletes expired items up to days late, so that the time is checked here.
        if item is None or int(item["expires_at"]["N"]) <= now_s:
            return None
        return msgspec.json.decode(item["data"]["S"], type=LinkData)

    def use_link(self, secret: str, now_s: int) -> LinkData | None:
        """Delete a link and return what it was for. Of several callers at once one gets it, the others None."""
        # Valid: DynamoDB deletes expired items up to days late. Unused: a link that was used is deleted and has no
        # `expires_at`, so that the comparison fails for the second caller.
        is_unused_and_valid = Attr("expires_at").gt(now_s)
        try:
            answer = self._client.delete_item(
                TableName=self._table,
                Key=item_of({"pk": f"link#{hashed(secret)}", "sk": "link"}),
                ReturnValues="ALL_OLD",
                **condition_of(is_unused_and_valid),
            )
        except ClientError as error:
            if is_refused(error):
                return None
            raise
        return msgspec.json.decode(answer["Attributes"]["data"]["S"], type=LinkData)

    def keep_session(self, secret: str, email: str, expires_at_s: int) -> None:
        """Store a new session."""
        self._keep("session", secret, email, expires_at_s)

    def session(self, secret: str, now_s: int) -> str | None:
        """The address of who is signed in; None when the session has expired or ended."""
        item = self._get(f"session#{hashed(secret)}", "session")
        return str(item["data"]["S"]) if item is not None and int(item["expires_at"]["N"]) > now_s else None

    def end_session(self, secret: str) -> None:
        """Sign out."""
        key = item_of({"pk": f"session#{hashed(secret)}", "sk": "session"})
        self._client.delete_item(TableName=self._table, Key=key)

    def is_within(self, what: str, who: str, most: int, window_s: int, now_s: int) -> bool:
        """Count one more, and return whether it is within `most` in this window of time. Refused ones count, too."""
        window = now_s // window_s
        # Adding is atomic: no two callers get the same count.
        update = Update().add(n=1).set(expires_at=(window + 2) * window_s)
        answer = self._client.update_item(
            TableName=self._table,
            Key=item_of({"pk": f"limit#{what}#{hashed(who)}", "sk": str(window)}),
            ReturnValues="UPDATED_NEW",
            **update.arguments(),
        )
        return int(answer["Attributes"]["n"]["N"]) <= most

    def begin_again(self, what: str, who: str, window_s: int, now_s: int) -> None:
        """Count from nothing in this window of time: what was counted has not been done."""
        key = item_of({"pk": f"limit#{what}#{hashed(who)}", "sk": str(now_s // window_s)})
        self._client.delete_item(TableName=self._table, Key=key)

    def _keep(self, kind: str, secret: str, data: str, expires_at_s: int) -> None:
        item = item_of({"pk": f"{kind}#{hashed(secret)}", "sk": kind, "data": data, "expires_at": expires_at_s})
        self._client.put_item(TableName=self._table, Item=item)
