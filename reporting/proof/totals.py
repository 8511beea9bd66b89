"""The counts of all batches against the summary, which the ledger's account made while the run was sending."""

from typing import Any

import msgspec

from notifier.model.account import Account
from notifier.model.summary import Summary
from reporting.proof.conclusion import NotProved


def check_totals(account: Account, summary: Summary, place: str, *, erased: bool) -> None:
    """Compare. Raises NotProved at the first figure that differs.

    Args:
        erased: users were erased since: how many records were broken is not known any more.
    """
    counted: dict[str, Any] = {
        "users": account.users,
        "devices": account.devices,
        "invalid_records": account.invalid_records,
        "excluded": account.excluded,
        "excluded_by": account.excluded_by,
        "unsent": account.deferred,
    }
    if erased:
        del counted["invalid_records"]
    for name, value in counted.items():
        said = getattr(summary, name)
        if said != value:
            raise NotProved(place, f"it says {name} {said}, the batches come to {value}")
    ours = {name: _plain(msgspec.to_builtins(arm)) for name, arm in account.arms.items()}
    theirs = {name: _plain(arm) for name, arm in summary.arms.items()}
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise NotProved(place, f"arm {name}: it says {theirs.get(name)}, the batches come to {ours.get(name)}")
    total = _plain(msgspec.to_builtins(account.outcomes()))
    if _plain(summary.outcomes) != total:
        raise NotProved(place, f"it says {summary.outcomes}, the rows come to {total}")


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    """Without zeros, which may or may not be written, in one order."""
    return {
        name: dict(sorted(value.items())) if isinstance(value, dict) else value
        for name, value in figures.items()
        if value
    }
