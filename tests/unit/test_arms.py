"""Arms: the public hash, held against published vectors, by hand and in SQL."""

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model.arms import Arms, bucket_of
from notifier.model.campaign import CONTROL, HUNDREDTHS
from notifier.model.campaign_reading import read_campaign

PUBLISHED: dict[str, Any] = json.loads((Path(__file__).parent / "arm_vectors.json").read_text(encoding="utf-8"))
SHARES = tuple((str(name), int(share)) for name, share in PUBLISHED["arms"])
VECTORS: list[dict[str, Any]] = PUBLISHED["vectors"]

# DuckDB's sha256 gives hexadecimal text in lower case; from_base and CAST('0x…') are spelt as in each warehouse,
# with what DuckDB lacks put in their place.
ATHENA = "from_base(substr(to_hex(sha256(to_utf8(e || ':' || u))), 1, 15), 16) % 10000"
BIGQUERY = "MOD(CAST(CONCAT('0x', SUBSTR(TO_HEX(SHA256(CONCAT(e, ':', u))), 1, 15)) AS INT64), 10000)"
DUCKDB = "('0x' || substr(sha256(e || ':' || u), 1, 15))::UBIGINT % 10000"


def test_enough_vectors() -> None:
    """At least fifty, Unicode among both salts and ids, every arm met."""
    assert len(VECTORS) >= 50
    assert any(not vector["salt"].isascii() for vector in VECTORS)
    assert any(not vector["user_id"].isascii() for vector in VECTORS)
    assert {vector["arm"] for vector in VECTORS} == {name for name, _ in SHARES}


def test_vectors() -> None:
    """The published numbers and arms never change."""
    for vector in VECTORS:
        arms = Arms(vector["salt"], SHARES)
        assert bucket_of(vector["salt"], vector["user_id"]) == vector["n"]
        assert arms.names[arms.index_of(vector["user_id"].encode())] == vector["arm"]


def test_two_vectors_by_hand() -> None:
    """As `printf 'who-joined:u1' | sha256sum` prints them."""
    digest = "e540151f33fca13"
    assert sha256(b"who-joined:u1").hexdigest().startswith(digest)
    assert bucket_of("who-joined", "u1") == int(digest, 16) % 10_000


def in_sql(expression: str) -> list[int]:
    """The expression over all vectors. What DuckDB calls otherwise is given the warehouse's names."""
    with duckdb.connect() as database:
        database.execute("CREATE MACRO to_utf8(t) AS t")
        database.execute("CREATE MACRO to_hex(h) AS upper(h)")
        database.execute("CREATE MACRO from_base(h, b) AS ('0x' || h)::UBIGINT")
        database.execute("CREATE TABLE v (i INTEGER, e TEXT, u TEXT)")
        # An SQL text cannot hold a NUL in every warehouse: that vector is for programs.
        rows = [(n, v["salt"], v["user_id"]) for n, v in enumerate(VECTORS) if "\0" not in v["user_id"]]
        database.executemany("INSERT INTO v VALUES (?, ?, ?)", rows)
        found = database.execute(f"SELECT {expression} FROM v ORDER BY i").fetchall()  # noqa: S608 - our own text
        return [int(row[0]) for row in found]


@pytest.mark.parametrize("expression", [ATHENA, BIGQUERY, DUCKDB], ids=["athena", "bigquery", "duckdb"])
def test_in_sql(expression: str) -> None:
    """The documented expressions give the same places; upper or lower case of the digits is the same number."""
    assert in_sql(expression) == [vector["n"] for vector in VECTORS if "\0" not in vector["user_id"]]


def test_fifteen_digits_fit() -> None:
    """Fifteen hexadecimal digits are below 2**63: no warehouse's integer overflows."""
    assert int("f" * 15, 16) < 2**63


shares = st.lists(st.integers(0, HUNDREDTHS), min_size=0, max_size=12).map(
    lambda cuts: [b - a for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), HUNDREDTHS], strict=True)]
)


@given(shares, st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_one_arm_each(parts: list[int], salt: str, user_id: str) -> None:
    """Every user is in exactly one arm: the first whose running sum is greater than the user's number."""
    arms = Arms(salt, [(f"a{n}", share) for n, share in enumerate(parts)])
    n, total, expected = bucket_of(salt, user_id), 0, -1
    for index, share in enumerate(parts):
        total += share
        if total > n:
            expected = index
            break
    assert arms.index_of(user_id.encode()) == expected
    assert parts[expected] > 0


def test_shares_of_many() -> None:
    """Of 100,000 users each arm has its share, give or take what chance gives (five standard deviations)."""
    read = read_campaign(
        {
            "id": "c",
            "message": {"title": "T"},
            "variants": [{"name": "a", "percent": 33.33}, {"name": "b", "percent": 56.67}],
            "control_percent": 10,
        }
    )
    arms = Arms(read.salt, read.arms)
    assert arms.names == ("a", "b", CONTROL)
    found = Counter(arms.names[arms.index_of(b"user-%d" % n)] for n in range(100_000))
    for name, share in read.arms:
        p = share / HUNDREDTHS
        assert abs(found[name] - 100_000 * p) < 5 * (100_000 * p * (1 - p)) ** 0.5


def test_a_user_keeps_his_arm() -> None:
    """One experiment over several campaigns: another message, another order of users, the same arms."""
    message = {"title": "T"}
    variants = [{"name": "a", "percent": 50}, {"name": "b", "percent": 50}]
    first, second, alone = (
        read_campaign({"id": i, "message": message, "variants": variants} | salt)
        for i, salt in (("mon", {"experiment": "e"}), ("tue", {"experiment": "e"}), ("wed", {}))
    )
    ids = [b"u%d" % n for n in range(200)]
    found = [[Arms(c.salt, c.arms).index_of(user) for user in ids] for c in (first, second, alone)]
    assert found[0] == found[1] != found[2]


def test_shares_that_are_not_the_whole() -> None:
    """Arms that do not sum to the whole cannot be made."""
    with pytest.raises(ValueError, match="9999 hundredths"):
        Arms("s", [("a", 9_999)])
    with pytest.raises(ValueError, match="0 hundredths"):
        Arms("s", [])
