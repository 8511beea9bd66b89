"""docs/audiences.md against the code: limits, parameters, the forms of a request, and an end for every recipe."""

import json
import re

import pytest

from audiences import app, compose, queries, warehouse
from audiences.engines import athena
from audiences.query_input import REUSED_FOR_S
from notifier.model.audience_request import SOURCES, has_free_sql, read_audience_source
from sandbox import intrinsics
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "audiences.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
RECIPES = ("Athena", "BigQuery", "Snowflake", "Redshift", "dbt", "Firehose")


def test_the_limits_are_those_of_the_code() -> None:
    """Each number on the page is a constant's."""
    words = " ".join(PAGE.split())
    for said in (
        f"SQL of {queries.MAX_SQL_CHARS:,} characters",
        f"{compose.MAX_SOURCES} sources in one audience, nested {compose.MAX_DEPTH} deep",
        f"at most {athena.MAX_LITERAL_CHARS:,} characters as SQL",
        f"after {app.QUERY_TIME_S / 60:.0f} minutes, at 60 % of `AudienceMemoryMb`",
        f"at the workgroup's limit for a query; after {warehouse.TIME_S / 60:.0f} minutes",
        f"under `{athena.PREFIX}`",
    ):
        assert said in words, said
    assert REUSED_FOR_S == 15 * 60, "within the same quarter of an hour"


def test_the_parameters_are_the_templates() -> None:
    """Whatever the page calls a parameter of the stack is one."""
    known = intrinsics.load(ROOT / "template.yaml")["Parameters"].keys()
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][A-Za-z]+)+)`", PAGE)) | set(re.findall(r"\b([A-Z]\w+)=\S", PAGE))
    mine = {name for name in named if name.startswith(("Athena", "BigQuery", "Audience", "Batch", "Require"))}
    assert mine <= known
    assert {name for name in known if name.startswith(("Athena", "BigQuery"))} - {"BigQueryBaseUrl"} <= mine


def test_every_form_of_a_request_is_there_and_is_one() -> None:
    """The worker takes each example of the first table."""
    written = re.findall(r"^\| (`\{.*?\}`(?:, `\{.*?\}`)*) \|", SECTIONS["What `audience` may be"], re.MULTILINE)
    forms = [one for cell in written for one in re.findall(r"`(\{.*?\})`(?:,|$)", cell)]
    inner = '{"files": ["audiences/x/"]}'
    seen: set[str] = set()
    for form in forms:
        text = re.sub(r"\b[ABC]\b", lambda _: inner, form).replace('"SELECT …"', '"SELECT 1"').replace("…", '"x"')
        value = json.loads(text)
        read_audience_source(value)
        seen |= value.keys() & set(SOURCES)
        assert has_free_sql(value) == ("sql" in value)
    assert seen == set(SOURCES)


def test_the_stored_query_is_one() -> None:
    """The example has no fault, with SQL that uses its parameters."""
    [about] = re.findall(r"```json\n(.*?)```", SECTIONS["Stored queries"], re.DOTALL)
    query = queries.read_query("example", b"SELECT $brands, $since", about.encode())
    assert query.about.engine == "athena"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_when_it_is_complete(name: str) -> None:
    """A batch file that is dropped earlier sends to a part of the users."""
    assert re.search(r"^\*Complete when:\* \S", SECTIONS[name], re.MULTILINE)
