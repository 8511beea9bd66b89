"""Finds the scenarios: the modules of this package that offer a `SCENARIO`, or several as `SCENARIOS`."""

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from types import ModuleType

import sandbox.faults
from sandbox.faults.scenario import Scenario


@cache
def scenarios() -> dict[str, Scenario]:
    """All of them by name, in the order of their names."""
    names = (found.name for found in pkgutil.iter_modules(sandbox.faults.__path__))
    return by_name(importlib.import_module(f"sandbox.faults.{name}") for name in names)


def by_name(modules: Iterable[ModuleType]) -> dict[str, Scenario]:
    """What these modules offer, in the order of the names. Raises ValueError if a name is there twice."""
    found: dict[str, Scenario] = {}
    for module in modules:
        for one in offered(module):
            if one.name in found:
                raise ValueError(f"{module.__name__}: there is a fault {one.name!r} already")
            found[one.name] = one
    return dict(sorted(found.items()))


def offered(module: ModuleType) -> tuple[Scenario, ...]:
    """A module with code of its own offers one scenario, a table several; other modules none."""
    alone = getattr(module, "SCENARIO", None)
    return (*getattr(module, "SCENARIOS", ()), *((alone,) if alone is not None else ()))


def scenario(name: str) -> Scenario:
    """One of them. Raises LookupError naming those that there are."""
    try:
        return scenarios()[name]
    except KeyError:
        raise LookupError(f"no fault {name!r}; there are: {', '.join(scenarios())}") from None
