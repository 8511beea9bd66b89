"""Files of a query's tables that cannot be read: the file is to blame and not the SQL, and no row of it is shown."""

import gzip
from pathlib import Path

import pytest

from audiences.engines.child import do
from audiences.engines.job import Failed, Job
from audiences.table_faults import fault_in_words

TOKEN = "ab" * 32
GOOD = f"user_id,platform,token\nu,ios,{TOKEN}\n"
FILES: dict[str, tuple[bytes, str]] = {
    "latin-1": (f"user_id,platform,token\nJ\xfcrgen,ios,{TOKEN}\n".encode("latin-1"), "not UTF-8: save it as UTF-8"),
    "UTF-16": (GOOD.replace(",", "\t").encode("utf-16"), "not UTF-8: save it as UTF-8"),
    "no header": (f"u,ios,{TOKEN}\nv,ios,{TOKEN[::-1]}\n".encode(), "values in place of names: has a table no header?"),
    "one cell more": (
        b"user_id,platform,token\nu,android,1\nv,ios,2,x\nw,android,3\nx,ios,4\n",
        "has a row of a table more or fewer cells than its header?",
    ),
    "JSON that is cut off": (
        f'{{"user_id": "u", "platform": "ios", "token": "{TOKEN}"}}\n{{"user_id": "v'.encode(),
        "the file users: near line 3: not JSON",
    ),
    "gzip that is cut off": (gzip.compress(GOOD.encode() * 9_000)[:-300], "the file users: damaged gzip or zstd"),
    "Parquet that is cut off": (b"PAR1" + b"x" * 100, "the file users: damaged Parquet, or cut off"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_named(name: str, tmp_path: Path) -> None:
    """In words for people, with its name; DuckDB's own words quote the row that it stumbled over."""
    stored, words = FILES[name]
    folder = tmp_path / "input"
    folder.mkdir()
    (folder / "users").write_bytes(stored)
    job = Job(
        [], "SELECT * FROM t", {}, {"t": [str(folder / "users")]}, str(folder), str(tmp_path), str(tmp_path / "out"),
        200, 1, 100, is_audience=True,
    )  # fmt: skip
    failed = do(job)
    assert isinstance(failed, Failed)
    assert words in failed.problem
    assert failed.offset is None
    assert TOKEN not in failed.problem + failed.mend
    assert "Auto-Detected" not in failed.problem


@pytest.mark.parametrize("message", ['Referenced column "tokn" not found', 'syntax error at or near "SELEC"', ""])
def test_what_is_the_querys_stays_the_querys(message: str) -> None:
    """Its place in the SQL is known, and its own words say enough."""
    assert fault_in_words(message) is None
