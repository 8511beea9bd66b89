"""The sandbox's pages of traces: what has markup in it is shown as text."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from sandbox.observe.pages import Observatory
from sandbox.xray import Daemon, Document

MARKUP = '<script>alert(1)</script>"&'


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """It has one trace, with markup wherever a function may put a text."""
    with Daemon() as daemon:
        part = Document(
            id=MARKUP,
            trace_id=MARKUP,
            parent_id=None,
            name=MARKUP,
            began_s=1_800_000_000.0,
            ended_s=1_800_000_001.0,
            fault=True,
            status=500,
            detail={"annotations": {"run": MARKUP}, "cause": {"exceptions": [{"message": MARKUP, "type": MARKUP}]}},
        )
        daemon.add([part], 100)
        yield daemon


@pytest.mark.parametrize(
    "path",
    [
        "/observe/",
        "/observe/?q=" + quote(MARKUP),
        "/observe/?q=" + quote("alert(1)"),
        "/observe/trace/" + MARKUP,
        "/observe/trace/" + quote(MARKUP),
    ],
)
def test_markup_is_text(daemon: Daemon, path: str) -> None:
    """In names, annotations and causes, in a search and in an address."""
    _, _, body = Observatory(daemon).pages(path)
    assert b"<script>alert" not in body
    assert b'alert(1)</script>"' not in body


def test_what_is_not_there() -> None:
    """An unknown trace is said so; a search that finds nothing says how many."""
    with Daemon() as daemon:
        pages = Observatory(daemon)
        assert pages.pages("/observe/trace/1-00000000-0")[0] == 404
        assert b"0 traces" in pages.pages("/observe/?q=nothing")[2]
