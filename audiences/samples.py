"""A few users of an audience for previews: different in language and devices, tokens masked.

They are shown to people who compose a push, so attributes that may not be shown are left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import msgspec

from audiences.joined_users import HASH
from audiences.rows import DEVICES
from notifier.model.audience_counts import MAX_NAME_CHARS
from notifier.model.recipient import Device, Gateway, Platform, masked

SAMPLES = 20
MAX_ATTRIBUTES = 20
MAX_CHARS = 100
_FIRST = 5
"""The first users are samples whatever they are like; after them only one of each kind."""
LOOKED_AT = 20_000
"""Samples are taken of the first users: to look further costs time for every user of a large audience."""


def samples_of(
    con: duckdb.DuckDBPyConnection, show: Sequence[str] | None, looked_at: int = LOOKED_AT
) -> tuple[dict[str, Any], ...]:
    """The samples.

    Args:
        show: attributes whose values may be shown; None for all.
        looked_at: of so many of the first users they are taken.
    """
    found = con.execute(f"""
        SELECT user_id, devices, locale, timezone, attributes FROM (
            SELECT *, row_number() OVER (ORDER BY h, user_id) AS n,
                   row_number() OVER (PARTITION BY kind ORDER BY h, user_id) AS of_kind FROM (
                SELECT *, {HASH} AS h, (locale, list_transform(devices, lambda d: d.platform)) AS kind
                FROM (SELECT *, {DEVICES} AS devices FROM users LIMIT {looked_at})))
        WHERE n <= {_FIRST} OR of_kind = 1 ORDER BY n LIMIT {SAMPLES}""")
    return tuple(_sample(*row, show=show) for row in found.fetchall())


def _sample(
    user_id: str,
    devices: Sequence[Mapping[str, str]],
    locale: str | None,
    timezone: str | None,
    attributes: str | None,
    *,
    show: Sequence[str] | None,
) -> dict[str, Any]:
    record: dict[str, Any] = {"user_id": user_id, "devices": [_device(one) for one in devices]}
    record |= {name: value for name, value in (("locale", locale), ("timezone", timezone)) if value}
    given: dict[str, Any] = msgspec.json.decode(attributes) if attributes else {}
    shown = [(name, value) for name, value in given.items() if show is None or name in show]
    if shown:
        record["attributes"] = {name[:MAX_NAME_CHARS]: _short(value) for name, value in shown[:MAX_ATTRIBUTES]}
    return record


def _device(given: Mapping[str, str]) -> dict[str, str]:
    gateway = Gateway(given["gateway"]) if given["gateway"] else None
    device = Device(Platform(given["platform"]), given["token"], gateway)
    return {"platform": device.platform.value, "gateway": device.carrier.value, "token": masked(device.token)}


def _short(value: object) -> object:
    """A value small enough to be kept with the counts."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value)[:MAX_CHARS]
