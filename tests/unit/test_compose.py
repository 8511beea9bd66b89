"""And, or, without and filters over user ids, against a computation by hand."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiences.compose import Composed, Node, Source, every_source, keep, read_composition, values_of
from audiences.database import Limits, connect
from audiences.faults import AudienceFault
from audiences.joined_users import _ranked
from audiences.rows import ROW_BITS, RowTable
from audiences.sources import InputFile
from tests.examples import examples

Row = Mapping[str, Any]


def user(name: str, **columns: Any) -> dict[str, Any]:
    """A row of one device whose token is the user's and of this source."""
    return {"user_id": name, "platform": "ios", "token": f"token-of-{name}-{columns.pop('n', 0):08d}", **columns}


def kept(directory: Path, sources: Sequence[Sequence[Row]], request: object) -> dict[str, tuple[int, ...]]:
    """The users of a composition of sources `{"files": [number]}`, and the sources of their rows."""
    node = read_composition(request)
    con = connect(Limits(directory / "work", memory_mb=100))
    try:
        table, owners = RowTable(con, directory / "rows"), list[int]()
        for source in every_source(node):
            path = directory / f"{source.number}.jsonl"
            [number] = source.request["files"]
            path.write_text("\n".join(json.dumps(row) for row in sources[number]) + "\n", encoding="utf-8")
            table.add(len(owners), InputFile(path, path.name))
            owners.append(source.number)
        keep(con, node, owners, functools.partial(_ranked, ordered=True))
        places = [number for source in every_source(node) for number in source.request["files"]]
        found = con.execute(f"SELECT user_id, list(DISTINCT place >> {ROW_BITS}) FROM rows GROUP BY user_id").fetchall()  # noqa: S608
        return {name: tuple(sorted(places[one] for one in owners_of)) for name, owners_of in found}
    finally:
        con.close()


A = [user("ann", country="DE"), user("bob", country="AT"), user("eve")]
B = [user("bob", n=1, country="DE"), user("eve", n=1, country="FR"), user("kim", n=1, country="DE")]
C = [user("eve", n=2)]
CASES: dict[str, tuple[object, dict[str, tuple[int, ...]]]] = {
    "one": ({"files": [0]}, {"ann": (0,), "bob": (0,), "eve": (0,)}),
    "and": ({"all": [{"files": [0]}, {"files": [1]}]}, {"bob": (0,), "eve": (0,)}),
    "or": ({"any": [{"files": [0]}, {"files": [1]}]}, {"ann": (0,), "bob": (0,), "eve": (0,), "kim": (1,)}),
    "or, the other way": (
        {"any": [{"files": [1]}, {"files": [0]}]},
        {"ann": (0,), "bob": (1,), "eve": (1,), "kim": (1,)},
    ),
    "without": ({"all": [{"files": [0]}], "without": [{"files": [2]}]}, {"ann": (0,), "bob": (0,)}),
    "the record is of the source by which it is there": (
        {"any": [{"all": [{"files": [0]}], "without": [{"files": [2]}]}, {"files": [1]}]},
        {"ann": (0,), "bob": (0,), "eve": (1,), "kim": (1,)},
    ),
    "filter of a source": ({"files": [1], "where": [{"column": "country", "is": ["DE"]}]}, {"bob": (1,), "kim": (1,)}),
    "filter of several values": (
        {"files": [0], "where": [{"column": "country", "is": ["DE", "AT"]}]},
        {"ann": (0,), "bob": (0,)},
    ),
    "filter of the record that will be": (
        {"any": [{"files": [0]}, {"files": [1]}], "where": [{"column": "country", "is": ["DE"]}]},
        {"ann": (0,), "kim": (1,)},
    ),
    "a value with a quote": ({"files": [0], "where": [{"column": "country", "is": ["') OR 1=1 --"]}]}, {}),
    "a column with a quote": ({"files": [0], "where": [{"column": "x') OR 1=1 --", "is": ["DE"]}]}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_compositions(tmp_path: Path, case: str) -> None:
    """Each form selects its users, with the rows of the first source that has them by right."""
    request, wanted = CASES[case]
    assert kept(tmp_path, [A, B, C], request) == wanted


def test_a_filter_takes_the_latest_value(tmp_path: Path) -> None:
    """Of several rows the one whose value the record will have decides, and rows without a value are no values."""
    rows = [user("ann", country="DE"), user("ann", n=1, country="AT"), user("ann", n=2)]
    assert kept(tmp_path, [rows], {"files": [0], "where": [{"column": "country", "is": ["AT"]}]}) == {"ann": (0,)}
    assert kept(tmp_path, [rows], {"files": [0], "where": [{"column": "country", "is": ["DE"]}]}) == {}


def requests(depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """Compositions of three sources."""
    source = st.builds(lambda n: {"files": [n]}, st.integers(0, 2))
    if not depth:
        return source
    some = st.lists(requests(depth - 1), min_size=1, max_size=2)
    return st.one_of(
        source,
        st.builds(lambda members: {"any": members}, some),
        st.builds(
            lambda members, less: {"all": members} | ({"without": less} if less else {}),
            some,
            st.one_of(st.just([]), some),
        ),
    )


def by_hand(node: Node, sources: Sequence[set[str]]) -> dict[str, int]:
    """The users of a node and the number of their source, by sets."""
    if isinstance(node, Source):
        return dict.fromkeys(sources[node.request["files"][0]], node.number)
    members = [by_hand(member, sources) for member in node.members]
    if node.kind == "any":
        found: dict[str, int] = {}
        for member in members:
            found = member | found
        return found
    less = {name for one in node.without for name in by_hand(one, sources)}
    return {
        name: n for name, n in members[0].items() if all(name in other for other in members[1:]) and name not in less
    }


@settings(max_examples=examples(12), deadline=None)
@given(request=requests(), members=st.lists(st.sets(st.sampled_from("abcdefg"), min_size=1), min_size=3, max_size=3))
def test_any_composition(
    tmp_path_factory: pytest.TempPathFactory, request: dict[str, Any], members: list[set[str]]
) -> None:
    """Any tree selects the same users, from the same sources, as sets do."""
    node = read_composition(request)
    assert isinstance(node, Source | Composed)
    numbers = {source.number: source.request["files"][0] for source in every_source(node)}
    wanted = {name: (numbers[n],) for name, n in by_hand(node, members).items()}
    sources = [[user(name, n=n) for name in sorted(names)] for n, names in enumerate(members)]
    assert kept(tmp_path_factory.mktemp("any"), sources, request) == wanted


FAULTS: dict[str, tuple[object, str]] = {
    "a list": ([], "audience: a list is not an audience"),
    "nothing": ({}, "audience: has none of them"),
    "two": ({"files": [], "sql": ""}, "audience: has files and sql"),
    "unknown": ({"files": [], "wher": []}, "audience.wher: does not belong beside files"),
    "without beside any": ({"any": [{"files": []}], "without": []}, "audience.without: does not belong beside any"),
    "an empty list": ({"all": []}, "audience.all: a list is not a list of audiences"),
    "a broken member": ({"all": [{"any": [7]}]}, "audience.all[0].any[0]: the number 7 is not an audience"),
    "where": ({"files": [], "where": {}}, "audience.where: an object is not a list"),
    "a filter": ({"files": [], "where": [{"column": "a"}]}, "audience.where[0]: is not a filter"),
    "a token": ({"files": [], "where": [{"column": "Token", "is": ["a"]}]}, "Token cannot be filtered by"),
    "not listed": ({"files": [], "where": [{"column": "salary", "is": [1]}]}, "salary may not be filtered by"),
    "not listed by all": (
        {"any": [{"files": []}, {"query": {}}], "where": [{"column": "country", "is": [1]}]},
        "country may not be filtered by",
    ),
    "no values": ({"files": [], "where": [{"column": "country", "is": []}]}, "audience.where[0].is: a list is not"),
    "an object": (
        {"files": [], "where": [{"column": "country", "is": [{}]}]},
        "where[0].is[0]: an object is not a value",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults(case: str) -> None:
    """What is wrong names its field, and says what to write."""
    request, says = FAULTS[case]
    with pytest.raises(AudienceFault) as fault:
        read_composition(request, lambda source: ("country",) if "files" in source else ())
    assert says in fault.value.problem
    assert fault.value.mend


def test_too_deep() -> None:
    """A tree of any depth is refused before Python's own limit."""
    request: object = {"files": []}
    for _ in range(5_000):
        request = {"all": [request]}
    with pytest.raises(AudienceFault, match="nested more than 8 deep"):
        read_composition(request)


@pytest.fixture
def users() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the users that preparation makes."""
    with duckdb.connect() as con:
        con.execute("""CREATE TABLE users AS
                       SELECT * FROM (VALUES ('a', 'de', '{"country":"DE","salary":7}'),
                       ('b', 'de', '{"country":"AT"}'), ('c', NULL, '{"country":"DE"}'))
                       AS t(user_id, locale, attributes)""")
        yield con


def test_values_only_of_columns_that_may_be_shown(users: duckdb.DuckDBPyConnection) -> None:
    """Values to choose from come from listed columns; a token's never do, not even where a query lists it."""
    assert values_of(users, "country", ("country",)) == (("DE", 2), ("AT", 1))
    assert values_of(users, "locale", ("locale",)) == (("de", 2),)
    for column, show in (("salary", ("country",)), ("user_id", ("user_id",)), ("TOKEN", ("TOKEN",))):
        with pytest.raises(AudienceFault, match="may not be shown"):
            values_of(users, column, show)
