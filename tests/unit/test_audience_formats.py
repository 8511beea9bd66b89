"""Files that are no audience: each is named by its content, with the command that makes one of it."""

import bz2
import codecs
import io
import json
import lzma
import shlex
import subprocess
import tarfile
import zipfile
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from notifier.audience import BrokenFile
from notifier.audience.batch_file_parser import BatchFileParser
from notifier.audience.foreign_formats import foreign_format
from notifier.audience.part_parser import PartParser
from notifier.model.record_reading import read_recipient
from operations.cli import app as notifier

USERS = [{"user_id": "u1", "platform": "web", "token": "t1"}, {"user_id": "u2", "platform": "web", "token": "t2"}]


def zipped(*names: str) -> bytes:
    """An archive with these files."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return stored.getvalue()


def tarred() -> bytes:
    """An archive as tar writes it."""
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("users.json"), io.BytesIO())
    return stored.getvalue()


def hadoop_snappy(text: bytes) -> bytes:
    """One block: its length, that of the compressed bytes, and they: a length again, and the text as a literal."""
    literal = bytes([len(text), (len(text) - 1) << 2]) + text
    return len(text).to_bytes(4) + len(literal).to_bytes(4) + literal


FORMATS: dict[str, tuple[bytes, str]] = {
    "parquet": (b"PAR1\x15\x04", "Parquet, not JSON: duckdb -c \"COPY (FROM read_parquet('FILE')) TO 'audience.jsonl'"),
    "zip": (zipped("users.json"), "a zip archive, not JSON: unzip FILE"),
    "an empty zip": (zipped(), "a zip archive, not JSON: unzip FILE"),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook (xlsx), not JSON: duckdb -c"),
    "xlsx otherwise": (zipped("xl/workbook.xml"), "an Excel workbook (xlsx), not JSON: duckdb -c"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an Excel workbook (xls), not JSON: save the sheet as CSV"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00", "compressed with zstd, not JSON: zstd -d FILE"),
    "bzip2": (bz2.compress(b"[]"), "compressed with bzip2, not JSON: bunzip2 FILE"),
    "xz": (lzma.compress(b"[]"), "compressed with xz, not JSON: xz -d FILE"),
    "snappy": (b"\xff\x06\x00\x00sNaPpY\x01", "compressed with snappy, not JSON: snzip -d -k FILE"),
    "Hadoop's snappy": (hadoop_snappy(b'{"user_id": "a"}'), "compressed with snappy in Hadoop's blocks, not JSON"),
    "avro": (b"Obj\x01\x04\x16", "Avro, not JSON: duckdb -c \"INSTALL avro; LOAD avro;"),
    "orc": (b"ORC\x0a", 'ORC, not JSON: python -c "from pyarrow import orc;'),
    "tar": (tarred(), "a tar archive, not JSON: tar -xf FILE"),
    "pdf": (b"%PDF-1.7\n", "a PDF document, not JSON"),
    "rtf": (b"{\\rtf1\\ansi", "a rich-text document (RTF), not JSON: save it as plain text"),
    "html": (b"\n<!DOCTYPE html><html>", "a web page (HTML), not JSON"),
    "xml": (b'<?xml version="1.0"?><Error>', "XML, not JSON: export it as JSON"),
    "csv": (b"user_id,platform,token\nu0,ios,t\n", "a table (CSV), not JSON: notifier convert FILE"),
    "csv of Excel": (codecs.BOM_UTF8 + b"user_id;platform\r\nu0;ios\r\n", "a table (CSV), not JSON: notifier convert"),
    "tabs": (b"user_id\tplatform\nu0\tios\n", "a table (CSV), not JSON: notifier convert"),
    "quoted": (b'"user_id","platform"\n', "a table (CSV), not JSON: notifier convert"),
    "Pinpoint's csv": (b"Id,ChannelType,Address\n", "Amazon Pinpoint's endpoints as a table, not JSON: notifier"),
    "quoted lines": (b'"{\\"user_id\\": \\"a\\"}"\n', "each line is JSON within a text in quotes: jq -c fromjson"),
    "keys before lines": (b'k\t{"user_id": "a"}\n', "JSON with a key before it in each line: cut -f2- FILE"),
    "lines before a header": (b"# made today\nuser_id,token\na,t\n", "a table (CSV), not JSON: notifier convert"),
    "carriage returns": (b"user_id,token\ra,t\r", "a table (CSV), not JSON: notifier convert FILE"),
    "another separator": (b"user_id^platform^token\na^ios^t\n", "a table with another separator than comma, semicolon"),
    "words": (b"user_id platform token\na ios t\n", "a table with another separator than comma, semicolon"),
    "a wide table": (b"user_id,token," + b",".join(b"c%d" % n for n in range(300)) + b"\n", "a table (CSV), not JSON"),
    "a log before": (b'INFO exporting\n[{"user_id": "a"}]', "other lines stand before the JSON: leave them out"),
    "headers of HTTP": (b'HTTP/1.1 200 OK\r\nServer: x\r\n\r\n[{"user_id": "a"}]', "other lines stand before the JSON"),
    "Hive's text": (b"a\x01ios\x01t\n", "a text of Hive's or Athena's, its columns separated by \\x01, not JSON"),
    "yaml": (b"users:\n  - user_id: a\n", "YAML, not JSON: yq -o json FILE"),
    "a comment": (b'// users\n[{"user_id": "a"}]', "a comment is not JSON: leave it out"),
    "zeros": (bytes(600), "zero bytes are not JSON: the file was not written whole"),
    "Pinpoint's csv in small letters": (b"id,channeltype,address\n", "Amazon Pinpoint's endpoints as a table"),
    "utf-16": ('{"users": []}'.encode("utf-16"), "not UTF-8 but UTF-16: save it as UTF-8"),
    "utf-16 without a mark": ("[{}]".encode("utf-16-be"), "not UTF-8 but UTF-16: save it as UTF-8"),
    "utf-16 csv": ("a,b\n".encode("utf-16-le"), "not UTF-8 but UTF-16: save it as UTF-8"),
    "utf-32": ('{"users": []}'.encode("utf-32"), "not UTF-8 but UTF-32: save it as UTF-8"),
    "utf-32 without a mark": ("[{}]".encode("utf-32-be"), "not UTF-8 but UTF-32: save it as UTF-8"),
    "utf-32 le without a mark": ("[{}]".encode("utf-32-le"), "not UTF-8 but UTF-32: save it as UTF-8"),
    "gzip thrice": (b"\x1f\x8b\x08\x00", "gzip, compressed more than twice, not JSON: gunzip it until it is JSON"),
}  # fmt: skip


def fault_of(parser: PartParser | BatchFileParser, stored: bytes, piece: int) -> BrokenFile:
    """What is said of a file that comes in pieces."""
    try:
        for start in range(0, len(stored), piece):
            parser.feed(stored[start : start + piece])
        parser.feed(b"", final=True)
    except BrokenFile as error:
        return error
    raise AssertionError("it was read")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("make", [PartParser, BatchFileParser])
@pytest.mark.parametrize("piece", [65536, 1])
def test_each_is_named_with_its_mend(name: str, make: type[PartParser | BatchFileParser], piece: int) -> None:
    """As a part and as a batch file, in whatever pieces it comes, and before anything is read of it."""
    stored, words = FORMATS[name]
    parser = make("s3://b/k")
    fault = fault_of(parser, stored, piece)
    assert fault.reason.startswith(words)
    assert fault.near[0] <= 3


SHAPES: dict[str, str] = {
    '{"users": {"u0": {"token": "t"}}}': "`users` is an object keyed by id, not a list: jq '.users |= [to_entries[] |",
    '{"users": null}': "`users` is null, not a list",
    '{"users": 5}': "`users` is not a list",
    '{"u0": {"platform": "ios", "TOKEN": "t"}, "u1": {"devices": []}}': "the users are an object keyed by id, not",
    '{"next": 1, "data": [{"user_id": "a", "token": "t"}]}': "the users are in a list that is not called `users`",
    '{"Item": {"user_id": {"S": "a"}, "token": {"S": "t"}}}': "DynamoDB's export, each record under `Item`",
    '{"Items": [{"user_id": {"S": "a"}, "token": {"S": "t"}}], "Count": 1}': "DynamoDB's values with their types",
    '{"user_id": {"N": "1"}, "token": {"S": "t"}}': "DynamoDB's values with their types: duckdb -c",
    '{"user_id": {"$oid": "64b"}, "token": "t"}': "MongoDB's values with their types",
    '{"user_id": {"stringValue": "a"}, "token": {"stringValue": "t"}}': "values with their types beside",
    '{"user_id": {"string": "a"}, "token": {"string": "t"}}': "values with their types beside them, as Avro's JSON",
    '{"user_id": {"0": "a"}, "token": {"0": "t"}}': "a table column by column, not user by user: DataFrame.to_json",
    '{"user_id": ["a"], "token": ["t"]}': "a table column by column, not user by user: DataFrame.to_json",
    '{"columns": ["user_id", "token"], "index": [0], "data": [["a", "t"]]}': "a table column by column",
    '{"before": {"user_id": "a"}, "after": {"user_id": "a"}, "op": "u"}': "each record is within `after`: jq -c .after",
    '{"schema": {"type": "struct"}, "payload": {"user_id": "a"}}': "each record is within `payload`: jq -c .payload",
    '{"_index": "x", "_source": {"user_id": "a"}}': "each record is within `_source`: jq -c ._source FILE",
    '{"user": {"user_id": "a", "token": "t"}}': "each record is within `user`: jq -c .user FILE",
    '{"meta": 1, "me": {"user_id": "a"}}': "each record is within another object: write it without that",
    '{"external_id": "a", "push_tokens": [{"platform": "iOS", "token": "t"}]}': "a record's devices are in a list that",
    '{"data": {"users": [{"user_id": "a"}]}}': "`users` is within another object: save that object alone",
    '{"entries": [{"url": "s3://b/part_0000"}]}': "a manifest, which lists files and has no users",
    '{"channeltype": "APNS", "address": "t", "user": {}}': "Amazon Pinpoint's endpoints, not users: notifier convert",
    '{"ChannelType": "APNS", "Address": "t", "User": {}}': "Amazon Pinpoint's endpoints, not users: notifier convert",
}


@pytest.mark.parametrize("text", SHAPES)
@pytest.mark.parametrize("layout", [None, 1])
def test_json_of_another_shape_is_named(text: str, layout: int | None) -> None:
    """Also printed over lines, with more behind it, and however large it is."""
    stored = json.dumps(json.loads(text), indent=layout).encode()
    for whole in (stored, stored + b"\n" + stored, b" " + stored):
        for piece in (65536, 1):
            assert fault_of(PartParser("s3://b/k"), whole, piece).reason.startswith(SHAPES[text])


@pytest.mark.parametrize("layout", [None, 1])
def test_a_large_object_keyed_by_id_is_named(layout: int | None) -> None:
    """It is recognised before its end has arrived."""
    users = {f"u{n}": {"platform": "web", "token": f"t{n}", "x": "y" * 100} for n in range(20_000)}
    for document, words in ((users, "the users are an object keyed by id"), ({"users": users}, "`users` is an object")):
        with pytest.raises(BrokenFile, match=words):
            PartParser("s3://b/k").feed(json.dumps(document, indent=layout).encode())


def test_the_reason_is_the_mend() -> None:
    """Of another format: no position has to be fixed in it. Within a file of users there is one."""
    assert fault_of(PartParser("x"), b"a,b\n1,2\n", 65536).mend == ""
    assert fault_of(PartParser("x"), b'[{"a": 1},]', 65536).mend.startswith("fix the file at this position")
    assert fault_of(PartParser("x"), b"oops", 65536).mend.startswith("fix the file at this position")


def test_a_record_that_only_looks_like_one_of_these() -> None:
    """A user with a member of any name is a user."""
    for text in (
        b'{"user_id": "a", "users": {}}',
        b'{"USER_ID": "a", "Item": {"token": 1}}',
        b'{"a": {"b": 1}}',
        b"{}",
    ):
        assert len(PartParser("s3://b/k").feed(text, final=True)) == 1


def test_the_command_makes_an_audience_of_parquet(tmp_path: Path) -> None:
    """What is recommended was done: the table's rows come out as the audience's records."""
    source, file, made = tmp_path / "users.jsonl", tmp_path / "FILE", tmp_path / "audience.jsonl"
    source.write_text("\n".join(map(json.dumps, USERS)))
    duckdb.execute(f"COPY (FROM read_json('{source}')) TO '{file}' (FORMAT parquet)")
    fault = foreign_format(file.read_bytes()[:512])
    assert fault is not None
    command = fault.split('duckdb -c "')[1].removesuffix('"')
    duckdb.execute(command.replace("'FILE'", f"'{file}'").replace("'audience.jsonl'", f"'{made}'"))
    assert PartParser("s3://b/k").feed(made.read_bytes(), final=True) == USERS


def test_the_command_makes_an_audience_of_a_table(tmp_path: Path) -> None:
    """The same of CSV, by our own command."""
    source, file, made = tmp_path / "users.jsonl", tmp_path / "FILE", tmp_path / "audience.jsonl"
    source.write_text("\n".join(map(json.dumps, USERS)))
    duckdb.execute(f"COPY (FROM read_json('{source}')) TO '{file}' (FORMAT csv, HEADER)")
    with pytest.raises(BrokenFile) as raised:
        PartParser("s3://b/k").feed(file.read_bytes(), final=True)
    command = raised.value.reason.split("notifier ")[1].replace("FILE", str(file)).replace("audience.jsonl", str(made))
    result = CliRunner().invoke(notifier, shlex.split(command))
    assert result.exit_code == 0, result.output
    records = PartParser("s3://b/k").feed(made.read_bytes(), final=True)
    assert [read_recipient(record) for record in records] == [read_recipient(user) for user in USERS]


@pytest.mark.parametrize("users", [{"users": {"u1": {"platform": "web", "token": "t1"}, "u2": USERS[1]}}])
def test_jq_makes_a_list_of_what_is_keyed(users: dict[str, object], tmp_path: Path) -> None:
    """With jq where it is installed."""
    file = tmp_path / "FILE"
    file.write_text(json.dumps(users))
    with pytest.raises(BrokenFile) as raised:
        PartParser("s3://b/k").feed(file.read_bytes(), final=True)
    program = raised.value.reason.split("jq '")[1].split("'")[0]
    assert program == ".users |= [to_entries[] | {user_id: .key} + .value]"
    try:
        made = subprocess.run(["jq", program, file], capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("no jq here")
    assert PartParser("s3://b/k").feed(made, final=True) == USERS
