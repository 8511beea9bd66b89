"""The fault catalogue finds every scenario, and can be looked at without changing anything."""

import ast
from pathlib import Path
from types import ModuleType

import pytest

import notifier.model.run
import sandbox.faults
from sandbox.faults.catalogue import by_name, offered, scenarios
from sandbox.faults.scenario import Scenario

FOLDER = Path(sandbox.faults.__path__[0])


def test_listing_the_faults_leaves_the_product_alone() -> None:
    """The hurried times are for functions in processes of their own: nothing here is hurried by looking."""
    before = notifier.model.run.LEASE_MS
    assert len(scenarios()) > 40
    assert before == notifier.model.run.LEASE_MS == 30_000


def test_every_scenario_that_is_written_is_found() -> None:
    """A `Scenario(name=…)` anywhere in the folder is in the catalogue: none is left out of its module's table."""
    written = [name for path in FOLDER.glob("*.py") for name in _names_written_in(path)]
    assert sorted(written) == list(scenarios())


def test_a_scenario_with_a_module_of_its_own_has_the_modules_name() -> None:
    """`goaway-mid-flight` is in `goaway_mid_flight.py`."""
    alone = [path for path in FOLDER.glob("*.py") if "\nSCENARIO = " in path.read_text()]
    assert alone
    assert all(_names_written_in(path) == [path.stem.replace("_", "-")] for path in alone)


def test_a_module_offers_one_scenario_or_a_table_of_them() -> None:
    """Both forms are found, in the order of their names; a module without any offers none."""
    alone, table = ModuleType("alone"), ModuleType("table")
    alone.SCENARIO = _scenario("b")  # type: ignore[attr-defined]
    table.SCENARIOS = (_scenario("c"), _scenario("a"))  # type: ignore[attr-defined]
    assert list(by_name((alone, table, ModuleType("none")))) == ["a", "b", "c"]
    assert offered(ModuleType("none")) == ()


def test_a_name_is_given_once() -> None:
    """Two scenarios of one name are an error, not a scenario that cannot be played."""
    table = ModuleType("table")
    table.SCENARIOS = (_scenario("a"), _scenario("a"))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="table: there is a fault 'a' already"):
        by_name((table,))


def _scenario(name: str) -> Scenario:
    return Scenario(name=name, breaks="something", expects="nothing")


def _names_written_in(path: Path) -> list[str]:
    """The names of the scenarios in a file's text, not of those that it offers."""
    return [
        name.value.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Scenario"
        for name in node.keywords
        if name.arg == "name" and isinstance(name.value, ast.Constant) and isinstance(name.value.value, str)
    ]
