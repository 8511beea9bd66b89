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
from botocore.exceptions import ClientError

from approval.table import Table


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
        # DynamoDB removes expired items up to days late: the time is looked at here.
        if item is None or int(item["expires_at"]["N"]) <= now_s:
            return None
        return msgspec.json.decode(item["data"]["S"], type=LinkData)

    def use_link(self, secret: str, now_s: int) -> LinkData | None:
        """Delete a link and return what it was for. Of several callers at once one gets it, the others None."""
        try:
            answer = self._client.delete_item(
                TableName=self._table,
                Key={"pk": {"S": f"link#{hashed(secret)}"}, "sk": {"S": "link"}},
                # is_not_expired: DynamoDB removes expired items up to days late.
                # is_not_used: a deleted link has no `expires_at`, so that the comparison fails for the second caller.
                ConditionExpression="expires_at > :now",
                ExpressionAttributeValues={":now": {"N": str(now_s)}},
                ReturnValues="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise
        return msgspec.json.decode(answer["Attributes"]["data"]["S"], type=LinkData)

    def keep_session(self, secret: str, email: str, expires_at_s: int) -> None:
        """Store a new session."""
        self._keep("session", secret, email, expires_at_s)

    def session(self, secret: str, now_s: int) -> str | None:
        """The address of who is signed in; None when the session has expired or ended."""
        item = self._get(f"session#{hashed(secret)}", "session")
        return item["data"]["S"] if item is not None and int(item["expires_at"]["N"]) > now_s else None

    def end_session(self, secret: str) -> None:
        """Sign out."""
        self._client.delete_item(
            TableName=self._table, Key={"pk": {"S": f"session#{hashed(secret)}"}, "sk": {"S": "session"}}
        )

    def is_within(self, what: str, who: str, most: int, window_s: int, now_s: int) -> bool:
        """Count one more, and return whether it is within `most` in this window of time. Refused ones count, too."""
        window = now_s // window_s
        answer = self._client.update_item(
            TableName=self._table,
            Key={"pk": {"S": f"limit#{what}#{hashed(who)}"}, "sk": {"S": str(window)}},
            UpdateExpression="ADD n :one SET expires_at = :end",  # atomic: no two callers read the same count
            ExpressionAttributeValues={":one": {"N": "1"}, ":end": {"N": str((window + 2) * window_s)}},
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["n"]["N"]) <= most

    def _keep(self, kind: str, secret: str, data: str, expires_at_s: int) -> None:
        item = {
            "pk": {"S": f"{kind}#{hashed(secret)}"},
            "sk": {"S": kind},
            "data": {"S": data},
            "expires_at": {"N": str(expires_at_s)},
        }
        self._client.put_item(TableName=self._table, Item=item)
