"""The same people in every format, and who they are by plain Python: nothing of the product's has a part in it."""

import csv
import gzip
import json
import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from audiences.raw import zstd

SALT = "spring"
ARMS = (("a", 4500), ("b", 4500), ("control", 1000))


class Expected(NamedTuple):
    """What an audience has to be: tokens of each user, and the users of each arm."""

    tokens: dict[str, frozenset[str]]
    arms: dict[str, frozenset[str]]


def people(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Users with one to three devices; some tokens are another user's, too."""
    draw, made = random.Random(seed), list[dict[str, Any]]()
    for n in range(count):
        devices = [_device(draw) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
        if n % 97 == 3:
            # A phone that was handed on: its new owner is the later one.
            devices.append(dict(draw.choice(made[max(0, n - 50) :])["devices"][0]))
        made.append(
            {
                "user_id": f"user-{n}" if n % 5 else n,
                "devices": devices,
                "locale": draw.choice(("de-AT", "en-GB", "fr")),
                "timezone": "Europe/Vienna",
                "attributes": {"first_name": draw.choice(("Ann", "Jürgen", 'Zoë "Z"')), "price": "1.10", "points": n},
            }
        )
    return made


def _device(draw: random.Random) -> dict[str, str]:
    if draw.random() < 0.5:
        return {"platform": "ios", "token": f"{draw.getrandbits(256):064x}"}
    return {"platform": "android", "token": f"{draw.getrandbits(88):022x}:APA91b{draw.getrandbits(200):050x}"}


def rows_of(users: list[dict[str, Any]], seed: int = 2) -> list[dict[str, Any]]:
    """One flat row a device, shuffled. `updated_at` says which of two rows of a token is the later."""
    rows = [
        {"user_id": user["user_id"], **device, "locale": user["locale"], "timezone": user["timezone"],
         "updated_at": _time_of(user["attributes"]["points"]), **user["attributes"]}
        for user in users for device in user["devices"]
    ]  # fmt: skip
    random.Random(seed).shuffle(rows)
    return rows


def _time_of(n: int) -> str:
    return f"2026-11-{1 + n // 86_400:02d}T{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z"


def expected(users: list[dict[str, Any]]) -> Expected:
    """By plain Python: the last user who has a token keeps it."""
    owner: dict[str, str] = {}
    for user in users:
        owner |= {device["token"]: str(user["user_id"]) for device in user["devices"]}
    tokens: dict[str, set[str]] = {}
    for token, user_id in owner.items():
        tokens.setdefault(user_id, set()).add(token)
    arms: dict[str, set[str]] = {name: set() for name, _ in ARMS}
    for user_id in tokens:
        arms[arm_of(user_id)].add(user_id)
    return Expected(
        {user_id: frozenset(some) for user_id, some in tokens.items()},
        {name: frozenset(some) for name, some in arms.items()},
    )


def arm_of(user_id: str) -> str:
    """The published rule, written out."""
    n = int(sha256(f"{SALT}:{user_id}".encode()).hexdigest()[:15], 16) % 10_000
    total = 0
    for name, share in ARMS:
        total += share
        if n < total:
            return name
    raise AssertionError


def found(paths: list[Path]) -> Expected:
    """What prepared parts hold. Fails if a user or a token is there twice."""
    tokens: dict[str, frozenset[str]] = {}
    seen: set[str] = set()
    arms: dict[str, set[str]] = {name: set() for name, _ in ARMS}
    for user in users_in(paths):
        mine = [device["token"] for device in user["devices"]]
        assert user["user_id"] not in tokens
        assert len(set(mine)) == len(mine)
        assert not seen & set(mine)
        seen.update(mine)
        tokens[user["user_id"]] = frozenset(mine)
        arms[arm_of(user["user_id"])].add(user["user_id"])
    return Expected(tokens, {name: frozenset(some) for name, some in arms.items()})


def users_in(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """The records of parts."""
    for path in paths:
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def _table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = _lines(path.with_suffix(".source"), [{**row, "user_id": str(row["user_id"])} for row in rows])
    with duckdb.connect() as con:
        # Rounded by nobody: a price of 1.10 is a decimal there.
        con.execute(
            f"COPY (SELECT * REPLACE (price::DECIMAL(5,2) AS price) FROM read_ndjson('{lines}')) "  # noqa: S608
            f"TO '{path}' (FORMAT parquet)"
        )
    lines.unlink()
    return path


def _packed(path: Path, pack: Callable[[bytes], bytes], records: list[dict[str, Any]]) -> Path:
    plain = _lines(path, records)
    plain.write_bytes(pack(plain.read_bytes()))
    return plain


def _list(path: Path, records: list[dict[str, Any]], before: str = "", after: str = "") -> Path:
    path.write_text(before + json.dumps(records, ensure_ascii=False) + after, encoding="utf-8")
    return path


FORMATS: dict[str, Callable[[Path, list[dict[str, Any]]], Path]] = {
    "lines": lambda folder, users: _lines(folder / "users.jsonl", users),
    "rows": lambda folder, users: _lines(folder / "rows.jsonl", rows_of(users)),
    "csv": lambda folder, users: _table(folder / "rows.csv", rows_of(users)),
    "parquet": lambda folder, users: _parquet(folder / "rows.parquet", rows_of(users)),
    "gzip": lambda folder, users: _packed(folder / "users.jsonl.gz", gzip.compress, users),
    "zstd": lambda folder, users: _packed(folder / "rows.jsonl.zst", zstd.compress, rows_of(users)),
    "list": lambda folder, users: _list(folder / "users.json", users),
    "users": lambda folder, users: _list(folder / "object.json", users, '{"users": ', "}"),
    "values": lambda folder, users: _list(folder / "values.json", rows_of(users)),
}
"""Writes the people in a format."""
