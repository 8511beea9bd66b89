"""Whom the final cut would leave out: the words for it, and the last answer to the question, for mails.

Asking takes seconds, and a mail cannot be asked again: it has the latest answer that the page of the draft got, with
its time.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from approval.audience_form import canonical
from approval.prepared import LeftOutNow
from approval.table import Table
from notifier.dynamodb import item_of

WORDS = {
    "suppressed": "want no pushes",
    "exclude": "on the exclude list",
    "holdout": "held out of all campaigns",
    "capped": "have had enough campaigns",
    "quiet": "in quiet hours",
    "too_late": "too late by their clock",
    "remainder": "not in the test; its winner is for them",
    "test_part": "in the test, which was sent already",
}
"""Why users are left out, as pages and mails say it. A newer release's reason is said in its own words."""
_TIMES = {"1": "one", "2": "two", "3": "three or more"}
KEEP_S = 86_400
"""How long an answer is kept: caps and lists of another day are others."""
_RULES = ("caps", "groups", "essential", "legal", "exclude", "quiet", "local_time", "winner", "experiment")
"""What of a campaign decides who is left out."""


def left_out_words(reason: str) -> str:
    """A reason as pages and mails say it."""
    return WORDS.get(reason, reason.replace("_", " "))


def reached_words(found: LeftOutNow) -> str:
    """How many of the users have had other campaigns this week; empty where nobody is counted."""
    if found.reached is None:
        return ""
    total = sum(found.reached.values())
    if not total:
        return f"None of the {found.users:,} users has had a campaign in the last 7 days."
    counts = ((found.reached.get(key, 0), words) for key, words in _TIMES.items())
    listed = ", ".join(f"{n:,} {words}" for n, words in counts if n)
    return f"About {total:,} of {found.users:,} users have had a campaign in the last 7 days: {listed}."


class LeftOutKept(Table):
    """The last answers, in the approval app's table: `pk` is `left-out#HASH` of the audience and of the rules."""

    def keep(self, manifest: str, campaign: Mapping[str, Any] | None, found: LeftOutNow, now_s: int) -> None:
        """Keep an answer."""
        item = {"pk": _pk(manifest, campaign), "sk": "left-out", "data": msgspec.json.encode(found).decode()}
        self._client.put_item(TableName=self._table, Item=item_of({**item, "expires_at": now_s + KEEP_S}))

    def last(self, manifest: str, campaign: Mapping[str, Any] | None, now_s: int) -> LeftOutNow | None:
        """The last answer about this audience and these rules; None where nobody asked within a day."""
        item = self._get(_pk(manifest, campaign), "left-out")
        # DynamoDB deletes what has expired within days, not at once.
        if item is None or int(item["expires_at"]["N"]) < now_s:
            return None
        return msgspec.json.decode(item["data"]["S"], type=LeftOutNow)


def _pk(manifest: str, campaign: Mapping[str, Any] | None) -> str:
    rules = {name: (campaign or {}).get(name) for name in _RULES}
    return f"left-out#{sha256(canonical({'manifest': manifest, 'rules': rules})).hexdigest()}"
