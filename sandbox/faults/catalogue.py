"""Finds the scenarios: every module of this package with a `SCENARIO`."""

import importlib
import pkgutil
from functools import cache

import sandbox.faults
from sandbox.faults.scenario import Scenario


@cache
def scenarios() -> dict[str, Scenario]:
    """All of them by name, in the order of their names."""
    found: dict[str, Scenario] = {}
    for module in pkgutil.iter_modules(sandbox.faults.__path__):
        scenario = getattr(importlib.import_module(f"sandbox.faults.{module.name}"), "SCENARIO", None)
        if isinstance(scenario, Scenario):
            found[scenario.name] = scenario
    return dict(sorted(found.items()))


def scenario(name: str) -> Scenario:
    """One of them. Raises LookupError naming those that there are."""
    try:
        return scenarios()[name]
    except KeyError:
        raise LookupError(f"no fault {name!r}; there are: {', '.join(scenarios())}") from None
