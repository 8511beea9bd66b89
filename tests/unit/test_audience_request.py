"""Audiences that a batch file may name: which are sent as they are, which are prepared first, which are faults."""

from typing import Any

import pytest

from notifier.model.audience_request import MAX_REQUEST_BYTES, has_free_sql, read_audience_source
from notifier.model.campaign_reading import BrokenCampaign

PARTS = {"parts": [{"key": "audiences/a.jsonl.gz"}, {"bucket": "b", "key": "audiences/b.json", "etag": "e"}]}
QUERY = {"query": {"name": "follows-brands", "parameters": {"brands": ["x"]}}}


def test_parts_of_json_are_sent_as_they_are() -> None:
    """As in every release before."""
    audience = read_audience_source(PARTS)
    assert audience is not None
    assert [part.key for part in audience.parts] == ["audiences/a.jsonl.gz", "audiences/b.json"]


@pytest.mark.parametrize(
    "raw",
    [
        {"parts": [{"key": "audiences/a.csv"}]},
        {"parts": [{"key": "audiences/a.json"}, {"key": "audiences/B.PARQUET"}]},
        {"files": ["audiences/x/*.jsonl", "s3://other/prefix/"]},
        QUERY,
        {"sql": "SELECT 1", "engine": "duckdb", "tables": {"users": ["standing/u.parquet"]}, "parameters": {"n": 1}},
        {"all": [PARTS, QUERY], "without": [{"files": ["audiences/gone.csv"]}]},
        {"any": [PARTS, {"all": [QUERY]}], "where": [{"column": "country", "is": ["DE", "AT"]}]},
        {**PARTS, "where": [{"column": "country", "is": ["DE"]}]},
    ],
)
def test_everything_else_is_prepared(raw: dict[str, Any]) -> None:
    """Files of other forms, queries, combinations and filters."""
    assert read_audience_source(raw) is None


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({}, "audience: has none of them (write exactly one of parts, files, query, sql, all, any)"),
        ({**PARTS, **QUERY}, "audience: has parts and query"),
        ({"files": []}, "audience.files"),
        ({"files": "audiences/a"}, "audience.files"),
        ({"query": {}}, "audience.query.name: missing"),
        ({"queries": []}, "audience.queries: unknown field"),
        ({"all": [PARTS, {}]}, "audience.all[1]: has none of them"),
        ({"any": [{"all": [7]}]}, "audience.any[0].all[0]"),
        ({"files": ["x" * MAX_REQUEST_BYTES]}, "audience: over 200,000 bytes"),
        ([], "audience"),
        (None, "audience"),
    ],
)
def test_faults_have_their_place(raw: object, fault: str) -> None:
    """Each names the field, and what to write."""
    with pytest.raises(BrokenCampaign) as caught:
        read_audience_source(raw)
    assert str(caught.value).startswith(fault)


def test_nested_too_deeply() -> None:
    """Eight levels are enough for anybody; a thousand would end the worker."""
    raw: dict[str, Any] = PARTS
    for _ in range(400):
        raw = {"all": [raw]}
    with pytest.raises(BrokenCampaign, match="nested more than 8 deep"):
        read_audience_source(raw)


def test_free_sql_is_found_at_any_depth() -> None:
    """A stack with RequireApproval runs stored queries only."""
    assert has_free_sql({"any": [PARTS, {"all": [QUERY], "without": [{"sql": "SELECT 1"}]}]})
    assert not has_free_sql({"any": [PARTS, QUERY]})
