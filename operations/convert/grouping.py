"""Joins consecutive rows of one user into one record with several devices."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAX_DEVICES = 100
"""Of one record: a file in which all rows have one user id must not become one endless record."""


def grouped(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The records, consecutive ones that differ in their devices alone as one."""
    waiting: dict[str, Any] | None = None
    for record in found:
        alike = waiting is not None and _without_devices(waiting) == _without_devices(record)
        if alike and waiting is not None and len(waiting["devices"]) < MAX_DEVICES:
            waiting["devices"] += record["devices"]
            continue
        if waiting is not None:
            yield waiting
        waiting = record
    if waiting is not None:
        yield waiting


def _without_devices(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "devices"}
