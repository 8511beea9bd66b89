"""The docstring of a package is a tour of its modules; it has to name each of them."""

import importlib
import re
from pathlib import Path
from pkgutil import iter_modules

import pytest

TOURS = ("audience", "composition", "content", "entries", "lifecycle", "model", "sending")


@pytest.mark.parametrize("name", ["notifier", "schedules", *(f"notifier.{package}" for package in TOURS)])
def test_a_tour_names_every_module(name: str) -> None:
    """A reader of the package's docstring finds every module in it, and no module that is not there."""
    package = importlib.import_module(name)
    assert package.__file__ is not None
    there = {module.name for module in iter_modules([str(Path(package.__file__).parent)])}
    lines = [line.partition(":")[0] for line in (package.__doc__ or "").splitlines() if line.startswith("- `")]
    in_headings = {found for line in lines for found in re.findall(r"`(\w+)`", line)}
    anywhere = set(re.findall(r"`(\w+)`", package.__doc__ or ""))
    assert there <= anywhere
    assert in_headings <= there
