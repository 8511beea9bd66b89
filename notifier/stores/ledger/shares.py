"""The lanes of runs that have several, as members who share a rate: one item, with an attribute for each.

| pk | sk | holds |
|---|---|---|
| `shares` | `lanes` | `m_RUN_0003`: a member as JSON, until it has lapsed for a while |
"""

from collections.abc import Mapping

import msgspec
from boto3.dynamodb.conditions import Attr

from notifier.dynamodb import Item, Update, item_of
from notifier.model.lane_membership import Member, Membership, lapsed
from notifier.model.run import LEDGER_VERSION
from notifier.stores.ledger.due_lanes import DueLanes
from notifier.stores.ledger.items import as_json

_KEY = item_of({"pk": "shares", "sk": "lanes"})
_PREFIX = "m_"
AT_ONCE = 40
"""Members that one write enters: an expression has at most 4 KB."""
KEEP_LAPSED_MS = 600_000
"""A member that lapsed longer ago is removed, so that the item stays small."""


class LaneShares(DueLanes):
    """The ledger's part for lanes that share a rate."""

    def membership(self, now_ms: int) -> Membership:
        """Who shares."""
        return Membership(_members_in(self._get(_KEY) or {}), self.running_alone(now_ms))

    def join(self, members: Mapping[str, Member], now_ms: int) -> Membership:
        """Enter lanes, or enter them again. Returns who shares now."""
        item: Item = {}
        names = list(members)
        for first in range(0, len(names), AT_ONCE):
            some = {f"{_PREFIX}{name}": as_json(members[name]) for name in names[first : first + AT_ONCE]}
            update = Update().set(**some, version=LEDGER_VERSION, expires_at=self._expires_at())
            item = self._update(_KEY, update)
        found = _members_in(item)
        self._remove_lapsed(item, found, now_ms)
        return Membership(found, self.running_alone(now_ms))

    def leave(self, name: str, now_ms: int) -> None:
        """Let a lane lapse that does not work any more. What it has seen of the gateways stays for a while."""
        found = _members_in(self._get(_KEY) or {}).get(name)
        if found is not None and found.until_ms > now_ms:
            self._update(_KEY, Update().set(**{f"{_PREFIX}{name}": as_json(lapsed(found, now_ms))}))

    def alive(self, now_ms: int) -> int:
        """How many lanes share FCM's budget right now."""
        return self.membership(now_ms).fcm_users(now_ms)

    def _remove_lapsed(self, item: Item, found: Mapping[str, Member], now_ms: int) -> None:
        old = [name for name, member in found.items() if member.until_ms + KEEP_LAPSED_MS < now_ms][:AT_ONCE]
        if old:
            names = [f"{_PREFIX}{name}" for name in old]
            # Only as it was read: a lane that has entered itself meanwhile stays.
            unchanged = [Attr(name).eq(item[name]["S"]) for name in names]
            self._update_if_met(_KEY, Update().remove(*names).only_if(*unchanged))


def _members_in(item: Item) -> dict[str, Member]:
    return {
        name.removeprefix(_PREFIX): msgspec.json.decode(value["S"], type=Member)
        for name, value in item.items()
        if name.startswith(_PREFIX)
    }
