"""One record per user, one push per token, in a fixed order: whatever the files look like, and wherever rows stand."""

import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from audiences.build import Order, build, count
from audiences.database import Limits
from audiences.destinations import Directory
from audiences.faults import AudienceFault
from audiences.manifest_format import Manifest
from audiences.sources import InputFile, local_files
from reporting.person import Ordered, batch_of
from tests.audience_people import FORMATS, expected, found, people, users_in

IOS, OTHER = "ab" * 32, "cd" * 32


def prepare(folder: Path, *paths: Path, ordered: bool = True, **settings: Any) -> Manifest:
    """Prepare files; the parts are under the folder."""
    inputs = tuple(InputFile(path, path.name, ordered=ordered) for path in paths)
    limits = Limits(folder / "work", threads=settings.pop("threads", 1))
    return build(Order({"files": [path.name for path in paths]}, inputs, **settings), Directory(folder), limits)


def parts_of(folder: Path, manifest: Manifest) -> list[Path]:
    return [folder / part.key for part in manifest.parts]


def records(folder: Path, *users: dict[str, Any] | str, **settings: Any) -> tuple[list[dict[str, Any]], Manifest]:
    """The prepared records of these, one a line."""
    path = folder / "users.jsonl"
    path.write_text("".join((user if isinstance(user, str) else json.dumps(user)) + "\n" for user in users))
    manifest = prepare(folder, path, **settings)
    return list(users_in(parts_of(folder, manifest))), manifest


def row(user_id: str, token: str = IOS, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "platform": "ios", "token": token, **more}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_people_in_every_format(name: str, tmp_path: Path) -> None:
    """The same tokens, each once, the same arms: equal to what plain Python says."""
    users = people(1_500)
    manifest = prepare(tmp_path, FORMATS[name](tmp_path, users), max_users=500)
    assert found(parts_of(tmp_path, manifest)) == expected(users)
    assert manifest.counts.repeated_tokens == sum(len(user["devices"]) for user in users) - manifest.counts.device_count
    assert manifest.counts.invalid == {}


@pytest.mark.parametrize("name", FORMATS)
def test_names_of_folders_are_no_values(name: str, tmp_path: Path) -> None:
    """A folder here such as `locale=de` changes nothing in the files: of a copy in S3 no folder is looked at."""
    users = people(30)
    folder = tmp_path / "user_id=u1" / "locale=de"
    folder.mkdir(parents=True)
    made = FORMATS[name](tmp_path, users)
    manifest = prepare(tmp_path, made.rename(folder / made.name))
    assert found(parts_of(tmp_path, manifest)) == expected(users)


def test_the_manifest_says_where_a_user_is(tmp_path: Path) -> None:
    """The batch that a look-up reads for a user is the one that has them: over parts, first and last of them too."""
    manifest = prepare(tmp_path, FORMATS["lines"](tmp_path, people(2_600)), max_users=1_000)
    ordered = [Ordered(part.first_record, part.first_hash, part.batches) for part in manifest.parts]
    users = list(users_in(parts_of(tmp_path, manifest)))
    assert [batch_of(ordered, user["user_id"]) for user in users] == [n // 500 for n in range(len(users))]


@pytest.mark.slow
def test_300000_people_in_every_format(tmp_path: Path) -> None:
    """The same for an audience of a size that companies have."""
    users = people(300_000)
    wanted = expected(users)
    for name, write in FORMATS.items():
        folder = tmp_path / name
        folder.mkdir()
        path = write(folder, users)
        manifest = prepare(folder, path)
        path.unlink()
        assert found(parts_of(folder, manifest)) == wanted
        assert manifest.parts[0].users == 250_000


def test_several_files_of_several_formats_are_one_audience(tmp_path: Path) -> None:
    """Users whose rows are in three files, by several threads, are each one record."""
    users = people(900)
    thirds = [[{**user, "devices": user["devices"][n::3]} for user in users if user["devices"][n::3]] for n in range(3)]
    paths = [FORMATS[name](tmp_path, third) for name, third in zip(("rows", "csv", "parquet"), thirds, strict=True)]
    manifest = prepare(tmp_path, *paths, threads=4)
    assert found(parts_of(tmp_path, manifest)) == expected(users)


def test_order_parts_and_what_the_manifest_says_of_them(tmp_path: Path) -> None:
    """By the first 8 bytes of the id's SHA-256, then the id; parts begin at multiples of 500; every figure is right."""
    users = people(2_300)
    manifest = prepare(tmp_path, FORMATS["rows"](tmp_path, users), max_users=1_000)
    everybody = [user["user_id"] for user in users_in(parts_of(tmp_path, manifest))]

    def place(user_id: str) -> tuple[bytes, bytes]:
        return hashlib.sha256(user_id.encode()).digest()[:8], user_id.encode()

    assert everybody == sorted(everybody, key=place)
    first = 0
    for path, part in zip(parts_of(tmp_path, manifest), manifest.parts, strict=True):
        mine = list(users_in([path]))
        data = path.read_bytes()
        assert (part.first_record, part.users, part.bytes) == (first, len(mine), len(data))
        assert part.sha256 == hashlib.sha256(data).hexdigest()
        assert part.devices == sum(len(user["devices"]) for user in mine)
        batches = [place(user["user_id"])[0].hex() for user in mine[::500]]
        assert (list(part.batches), part.first_hash) == (batches, batches[0])
        first += part.users
    assert [part.users for part in manifest.parts][:2] == [1_000, 1_000]
    assert first == manifest.counts.users


def test_rows_of_a_user_become_one_record_wherever_they_stand(tmp_path: Path) -> None:
    """All devices; of each attribute the latest value that is not null."""
    found, manifest = records(
        tmp_path,
        row("u", city="Wien", price="1.10", plan="old"),
        row("v", "ef" * 32),
        row("u", OTHER, locale="de", city=None, plan="new"),
    )
    assert {user["user_id"]: len(user["devices"]) for user in found} == {"u": 2, "v": 1}
    [joined] = [user for user in found if user["user_id"] == "u"]
    assert joined["attributes"] == {"city": "Wien", "price": "1.10", "plan": "new"}
    assert joined["locale"] == "de"
    assert (manifest.counts.rows, manifest.counts.users, manifest.counts.joined_rows) == (3, 2, 1)


TIMES: list[tuple[list[Any], int]] = [
    ([None, None, None], 2),
    ([3, 2, 1], 0),
    ([1, 3, 2], 1),
    ([2, 2, 2], 2),
    ([9, None, 1], 2),
    ([9, None, None], 2),
    ([None, 5, 4], 1),
    ([9, 8, None], 2),
    (["2026-11-28T10:00:00Z", "2026-11-28T10:30:00+01:00", "2026-11-28 09:59:59"], 0),
    ([1_795_000_000, 1_795_000_001_000, 1_794_999_999], 1),
    (["soon", "later", 5], 2),
]
"""`updated_at` of three rows of one token, and the row that keeps it."""


@pytest.mark.parametrize(("times", "winner"), TIMES)
def test_the_later_row_keeps_a_token(times: list[Any], winner: int, tmp_path: Path) -> None:
    """By time where both have one, else by place; the others are counted, and listed as duplicates."""
    found, manifest = records(tmp_path, *(row(f"u{n}", updated_at=time) for n, time in enumerate(times)))
    assert [user["user_id"] for user in found] == [f"u{winner}"]
    assert "attributes" not in found[0]
    assert (manifest.counts.repeated_tokens, manifest.counts.invalid) == (2, {})
    assert manifest.invalid is not None
    listed = [json.loads(line) for line in (tmp_path / manifest.invalid.key).read_text().splitlines()]
    assert [(one["row"], one["reason"]) for one in listed] == [(n, "duplicate") for n in range(3) if n != winner]


def test_without_order_the_smaller_hash_keeps_a_token(tmp_path: Path) -> None:
    """Rows of a query have no order: the result does not depend on how they came."""
    winners = set()
    for n, order in enumerate(itertools.permutations(("a", "b", "c"))):
        folder = tmp_path / str(n)
        folder.mkdir()
        found, _ = records(folder, *(row(user_id) for user_id in order), ordered=False)
        winners |= {user["user_id"] for user in found}
    assert winners == {min("abc", key=lambda user_id: hashlib.sha256(user_id.encode()).digest())}


def test_a_token_of_apple_is_the_same_in_either_case(tmp_path: Path) -> None:
    """It is one phone; a token of Google's differs by its case."""
    android = {"platform": "android"}
    found, _ = records(
        tmp_path,
        row("u"),
        row("v", IOS.upper()),
        {"user_id": "w", **android, "token": "x" * 20},
        {"user_id": "x", **android, "token": "X" * 20},
    )
    assert {user["user_id"] for user in found} == {"v", "w", "x"}


def test_a_user_without_a_device_left_is_no_user(tmp_path: Path) -> None:
    """Tokens lost to a later row, and devices that are broken, leave nobody to send to."""
    found, manifest = records(tmp_path, row("u"), row("v"), {"user_id": "w", "devices": [{"platform": "ios"}]})
    assert [user["user_id"] for user in found] == ["v"]
    assert manifest.counts.invalid == {"token: missing": 1}
    [first] = [one for one in manifest.counts.invalid_first if one.reason == "token: missing"]
    assert (first.input, first.row, first.device) == ("users.jsonl", 2, 0)


def test_the_longest_values(tmp_path: Path) -> None:
    """In bytes, as they are printed; of every user, of names with quotes too, and of numbers."""
    rows = [{**row("u"), "attributes": {"n": "ä" * 50, 'a "b"': "x", "price": 1.25}}, {**row("v", OTHER), "n": "x"}]
    _, manifest = records(tmp_path, *rows)
    assert manifest.counts.longest == {"n": 100, 'a "b"': 1, "price": 4}


def test_counts(tmp_path: Path) -> None:
    """By platform and gateway; attributes that are lacking; examples of those that may be shown, and of no others."""
    found, manifest = records(
        tmp_path,
        row("u", locale="de", city="Wien", secret="s"),
        {**row("v", OTHER), "gateway": "fcm", "city": None},
        {"user_id": "w", "platform": "web", "token": "x" * 20, "attributes": {"city": "Graz", "plan": None}},
        {"user_id": "x"},
        show=("city",),
    )
    counts = manifest.counts
    assert counts.devices == {"ios": {"apns": 1, "fcm": 1}, "web": {"fcm": 1}}
    assert (counts.locales, counts.timezones) == ({"de": 1}, {})
    lacking = {name: one.lacking for name, one in counts.attributes.items()}
    assert lacking == {"city": 1, "plan": 3, "secret": 2}
    assert counts.attributes["city"].examples == ("Graz", "Wien")
    assert counts.attributes["secret"].examples == ()
    assert counts.longest == {"city": 4, "secret": 1}
    assert counts.invalid == {"token: missing": 1}
    path = tmp_path / "users.jsonl"
    assert count(Order({}, (InputFile(path, "x"),), show=("city",)), Limits(tmp_path / "w")).users == len(found) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the audience is empty"),
        ('{"user_id": "u"}\n', "of 1 row none can be sent to: 1 × token: missing"),
        ("name,mail\nAnn,a@example.com\n", "a user needs the columns user_id, platform and token; it has name, mail"),
        ("user_id,token,platform\n1.23E+15,x,web\n", "a rounded number, not an id"),
        (
            'user_id,token,platform,name\nu,t,web,A\nv,x,web,"B\nw,y,web,C\n',
            "users: line 3: a quote is opened in the row that begins here, and never closed",
        ),
        (f"u|ios|{IOS}\n", "users: its first line has values in place of the names of columns"),
        (
            '{"user_id": "u", "platform": "GCM", "token": "abcdefghijklmnopqrst"}\n',
            "users: of 1 row none can be sent to: 1 × platform: not one of ios, android, web",
        ),
        ("user_id,token,platform\nu\0,x,web\n", "users: it has NUL bytes"),
        ("user_id,token,platform\nu,x,web,more\n", "users: line 2 has 4 cells, and the header 3 columns"),
        (f"user_id,token,platform\nu,x,web{'x' * 5_000_000}\n", "users: line 2 is over 4 MiB"),
    ],
)
def test_what_is_no_audience(text: str, words: str, tmp_path: Path) -> None:
    """It says why, and nothing is written."""
    path = tmp_path / "users"
    path.write_text(text)
    with pytest.raises(AudienceFault, match=re.escape(words)):
        prepare(tmp_path, path)
    assert not (tmp_path / "audiences").exists()


def test_a_table_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """Semicolons, a first line that names them, titles in words, capitals, quotes, empty cells, decimals as ids."""
    path = tmp_path / "table.csv"
    path.write_text(
        f'sep=;\nUser ID;Platform;Token;Locale;First name\n1001.0;iOS;{IOS};de-AT;"Zoë; ""Z"""\n'
        f"1001;Android;{'x' * 20};de-AT;\n;;;;\n1003;Android;;en-GB;Ann\n",
        encoding="utf-8-sig",
    )
    manifest = prepare(tmp_path, path)
    [user] = users_in(parts_of(tmp_path, manifest))
    assert (user["user_id"], user["locale"], len(user["devices"])) == ("1001", "de-AT", 2)
    assert user["attributes"] == {"First name": 'Zoë; "Z"'}
    assert manifest.counts.invalid == {"token: missing": 1}


def test_the_mend_fits_the_reason(tmp_path: Path) -> None:
    """Columns are not to blame for words and for JSON; no token of a table without a header is shown."""
    path = tmp_path / "users"
    for text, mend in (
        ('{"user_id": "u", "platform": "GCM", "token": "abcdefghijklmnopqrst"}\n', "FCM and GCM are android"),
        ('{"userId": "u", "platform": "ios"}\n', "rename columns that have other names"),
        ("[[1, 2], [3, 4]]\n", "write each user as an object"),
        (f'{{"user_id": "{"u" * 600}", "platform": "ios", "token": "t"}}\n', "correct it, or export it again"),
        ('user_id,token,platform,x\nu,t,web,"a \\"b\\" c"\n', "a quote is written twice"),
        ('{"user_id": "u", "x": NaN}\n', "correct it, or export it again"),
        (f"u,ios,{IOS}\n", "put a first line before it that names the columns"),
    ):
        path.write_text(text)
        with pytest.raises(AudienceFault) as fault:
            prepare(tmp_path, path)
        assert mend in fault.value.mend
        assert IOS not in str(fault.value) + fault.value.mend


def test_lines_before_a_header(tmp_path: Path) -> None:
    """Tools write beforehand when a table was made."""
    path = tmp_path / "table.csv"
    path.write_text(f"# made 2026-11-28\n#\nuser_id,platform,token\nu,ios,{IOS}\n")
    assert prepare(tmp_path, path).counts.users == 1


@pytest.mark.parametrize("text", ["# exported, 2026-11-29\n# by job 7, x\n", "sep=;\n"])
def test_lines_before_no_header(tmp_path: Path, text: str) -> None:
    """There are no columns then, which is said as of every other table."""
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(AudienceFault, match=r"table\.csv: "):
        prepare(tmp_path, path)


@pytest.mark.parametrize("sign", ["_delta_log/0.json", ".hoodie/1.commit", "metadata/v2.metadata.json"])
def test_a_table_of_many_files_here(tmp_path: Path, sign: str) -> None:
    """As in S3: its files hold replaced and deleted rows, too."""
    for name in (sign, "part-0.parquet"):
        path = tmp_path / "lake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with pytest.raises(AudienceFault, match="lake: a table of"):
        local_files([str(tmp_path / "lake")])


def test_inches_are_no_open_quote(tmp_path: Path) -> None:
    """A quote within a cell without quotes opens nothing."""
    path = tmp_path / "table.csv"
    path.write_text(f'user_id,platform,token,screen\nu,ios,{IOS},5"\nv,ios,{OTHER},6\n')
    assert prepare(tmp_path, path).counts.users == 2


def test_lines_that_end_in_a_carriage_return(tmp_path: Path) -> None:
    """As Excel for Mac can write a table."""
    path = tmp_path / "table.csv"
    path.write_bytes(f"user_id,platform,token\ru,ios,{IOS}\rv,ios,{OTHER}\r".encode())
    assert prepare(tmp_path, path).counts.users == 2


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst", ".csv.gz"])
def test_a_name_that_promises_compression(ending: str, tmp_path: Path) -> None:
    """Content decides, as in the worker: what is plain is read as plain."""
    path = tmp_path / f"users{ending}"
    is_table = ending.startswith(".csv")
    path.write_text(f"user_id,platform,token\nu,ios,{IOS}\n" if is_table else json.dumps(row("u")) + "\n")
    assert prepare(tmp_path, path).counts.users == 1


def test_a_name_with_wildcards_is_one_file(tmp_path: Path) -> None:
    """Another file that such a pattern matches is not read in its place, nor beside it."""
    (tmp_path / "day-1.jsonl").write_text(json.dumps(row("other")) + "\n")
    path = tmp_path / "day-*.jsonl"
    path.write_text(json.dumps(row("u")) + "\n")
    assert [user["user_id"] for user in users_in(parts_of(tmp_path, prepare(tmp_path, path)))] == ["u"]


@pytest.mark.parametrize("size", [1_100_000, 5_000_000, 20_000_000])
def test_a_line_that_no_worker_reads(size: int, tmp_path: Path) -> None:
    """It is one broken record, with the worker's reason, however long it is."""
    found, manifest = records(tmp_path, row("u"), row("v", OTHER, note="x" * size))
    assert [user["user_id"] for user in found] == ["u"]
    assert manifest.counts.invalid == {"a line of over 1 MiB": 1}


def test_a_text_of_parquet_that_is_no_text(tmp_path: Path) -> None:
    """The message shows no value: it might be a token."""
    path = tmp_path / "users.parquet"
    duckdb.sql(f"COPY (SELECT 'u' AS user_id, 'ios' AS platform, '\\xff\\x01secret'::BLOB AS token) TO '{path}'")
    with pytest.raises(AudienceFault, match=r"users\.parquet: not UTF-8") as fault:
        prepare(tmp_path, path)
    assert "secret" not in str(fault.value)
