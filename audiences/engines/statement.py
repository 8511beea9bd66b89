"""Judges a statement before it runs: it must be one SELECT, over the query's own tables and over nothing else.

DuckDB refuses files and the network anyway (`child` locks it). This is the second lock, and it says why in words that
help: what a statement may use is listed here, so that a function that a later release of DuckDB brings is not allowed
until it is added here.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

FUNCTIONS = frozenset({"unnest", "range", "generate_series", "json_each", "json_tree", "repeat", "repeat_row"})
"""Functions in FROM that make rows of their arguments only. All others read files, settings, the catalog or SQL."""
OF_THE_SESSION = frozenset(
    {
        "current_connection_id", "current_database", "current_query", "current_query_id", "current_schema",
        "current_schemas", "current_setting", "current_catalog", "current_transaction_id", "currval", "format_type",
        "get_block_size", "getvariable", "in_search_path", "json_serialize_plan", "nextval", "pg_get_constraintdef",
        "pg_get_viewdef", "pg_sleep", "setval", "sleep_ms", "stats", "txid_current", "vector_type", "write_log",
    }
)  # fmt: skip
"""Functions of values that read settings or the catalog, or act on the session. All others take their arguments only;
`tests/unit/test_query_catalog.py` finds one that a later release of DuckDB brings."""
_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "STATEMENT_NODE"})
_UNKNOWN_PLACE = 2**63
"""Offsets from here on mean that the parser has none."""
_MORE_THAN_A_SELECT = ("a statement that is more than a SELECT, such as PIVOT", "write it with GROUP BY and FILTER")
"""DuckDB's parser makes several statements of PIVOT, some of which write."""
_NO_PARAMETER = re.compile(r"\d+")
_FILE_LIKE = re.compile(r"[/.:*]")
"""Letters of paths, addresses and patterns of them."""


class Refused(Exception):
    """The statement is not run.

    Args:
        offset: the place in the text, in bytes of UTF-8.
    """

    def __init__(self, problem: str, mend: str = "", offset: int | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mend = mend
        self.offset = offset


def judged(database: duckdb.DuckDBPyConnection, text: str, tables: Collection[str]) -> set[str]:
    """The names of the parameters of a statement that may run. Raises Refused, or DuckDB's own error of its parser."""
    statements = database.extract_statements(text)
    if not statements:
        raise Refused("there is no statement in it", "write one SELECT")
    if len(statements) > 1:
        raise Refused(f"{len(statements)} statements", "write one SELECT: a ; may only be at the end")
    kind = statements[0].type
    # Before the next check, whose message would name a kind that no author has written.
    if kind is duckdb.StatementType.MULTI:
        raise Refused(*_MORE_THAN_A_SELECT)
    if kind is not duckdb.StatementType.SELECT:
        raise Refused(f"a statement of the kind {kind.name}", "write one SELECT: nothing else is allowed")
    parameters = set(statements[0].named_parameters)
    if any(_NO_PARAMETER.fullmatch(name) for name in parameters):
        raise Refused("a parameter without a name", "write $name instead of ? and $1")
    # Names compare without case, as DuckDB compares them.
    _refuse_others(database, _tree(database, text), {name.lower() for name in tables})
    return parameters


def _tree(database: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    """The statement as DuckDB's parser has understood it, without running or binding anything."""
    rows = database.execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [text]).fetchall()
    tree: dict[str, Any] = json.loads(rows[0][0])
    # The serializer knows nothing but SELECT.
    if tree.get("error"):
        raise Refused(*_MORE_THAN_A_SELECT)
    return tree


def _catalog_views(database: duckdb.DuckDBPyConnection) -> set[str]:
    """The names by which DuckDB's own catalog can be read without a schema, as `sqlite_master` and `pg_class`."""
    rows = database.execute("SELECT lower(view_name) FROM duckdb_views() WHERE internal").fetchall()
    return {str(name) for (name,) in rows}


def _refuse_others(database: duckdb.DuckDBPyConnection, tree: dict[str, Any], tables: set[str]) -> None:
    """Refuse whatever reads from anywhere but the tables and the statement's own WITH."""
    nodes = list(_nodes(tree))
    # Names that WITH defines, in the three forms that the tree has for them.
    named = {entry["key"].lower() for node in nodes for entry in (node.get("cte_map") or {}).get("map", ())}
    named |= {str(node["cte_name"]).lower() for node in nodes if node.get("cte_name")}
    named |= {str(node["ctename"]).lower() for node in nodes if node.get("ctename")}
    for node in nodes:
        kind = str(node.get("type", ""))
        if kind == "BASE_TABLE":
            _judge_table(node, tables, named)
        elif kind == "TABLE_FUNCTION":
            function = str(node["function"].get("function_name", "")).lower()
            if function not in FUNCTIONS:
                raise Refused(f"{function} is not allowed in FROM", _use(tables), _offset(node, node["function"]))
        elif kind == "FUNCTION":
            _judge_function(node, tables)
        elif kind == "SHOW_REF":
            raise Refused("DESCRIBE, SHOW and SUMMARIZE are not allowed", "write a SELECT of the users")
        # A whole query as a node of another kind: DELETE or INSERT within WITH.
        elif kind.endswith("_NODE") and "cte_map" in node and kind not in _QUERIES:
            raise Refused("a statement that writes, within the SELECT", "write a SELECT that only reads")
    # Scopes are not followed: a name that WITH defines somewhere is allowed everywhere. Where it is not in scope DuckDB
    # finds no table of it, unless its catalog has one, or the name is that of a file: a path, address or pattern in
    # place of a table is read.
    if paths := sorted(name for name in named if _FILE_LIKE.search(name)):
        raise Refused(f"WITH {paths[0]}: that may be the name of a file", "choose a name of letters, digits and _")
    if named and (taken := sorted(named & _catalog_views(database))):
        raise Refused(f"WITH {taken[0]}: that is a name of DuckDB's own", "choose another name")


def _judge_table(node: dict[str, Any], tables: set[str], named: set[str]) -> None:
    path = [part for part in (node.get("catalog_name"), node.get("schema_name")) if part]
    # Both forms: either may hold the schema.
    path += [part for part in (node.get("qualified_name") or {}).get("path", ())[:-1] if part not in path]
    name = str(node["table_name"])
    if path:
        raise Refused(f"{'.'.join([*path, name])} is in another schema", _use(tables), _offset(node))
    if name.lower() not in tables | named:
        raise Refused(f"there is no table {name}", _use(tables), _offset(node))


def _judge_function(node: dict[str, Any], tables: set[str]) -> None:
    function = str(node.get("function_name", "")).lower()
    # The last lock holds here too: neither the catalog nor the settings have a secret, only paths of this process.
    if function in OF_THE_SESSION:
        raise Refused(f"{function} is not allowed", _use(tables), _offset(node))


def _use(tables: set[str]) -> str:
    if not tables:
        return "name files as a table under tables, and use that"
    return f"the tables of this query: {', '.join(sorted(tables))}"


def _offset(*nodes: dict[str, Any]) -> int | None:
    for node in nodes:
        at = node.get("query_location")
        if isinstance(at, int) and at < _UNKNOWN_PLACE:
            return at
    return None


def _nodes(value: object) -> Iterator[dict[str, Any]]:
    """Every object of the tree. By a list instead of recursion: a statement may be nested deeply."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += reversed(list(value.values()))
        elif isinstance(value, list):
            waiting += reversed(value)
