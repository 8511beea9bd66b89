"""Audiences as other tools write them: what each sample in `events/audiences` says when it is counted and inspected."""

import json
from pathlib import Path

import pytest

from notifier.audience import FileKind
from notifier.audience.local import parser_for, read_local
from operations.dry_check import Inspection, Inspector
from operations.dry_check.figures import AudienceCounter

SAMPLES = Path(__file__).parents[2] / "events" / "audiences"
NULL = "is not JSON: write null (pandas: DataFrame.to_json does; json.dumps(…, allow_nan=False) finds the place)"
DESCRIBED = "token: a description of the data ({length = …, bytes = …}), the token is not in it: send the bytes as hex"

READ: dict[str, tuple[int, int, dict[str, int]]] = {
    "firehose.json": (12, 12, {}),
    "pretty.json": (4, 4, {}),
    "comma-lines.jsonl": (4, 4, {}),
    "two-marks.jsonl": (4, 4, {}),
    "two-lists.json": (4, 4, {}),
    "upper-columns.jsonl": (4, 4, {}),
    "capital-words.jsonl": (4, 4, {}),
    "twice.json.gz": (3, 3, {}),
    "flat-rows.jsonl": (6, 12, {"token: given twice for this user, who is asked for once": 1}),
    "described-tokens.jsonl": (4, 3, {DESCRIBED: 1}),
    "json-as-text.jsonl": (3, 2, {"attributes: text that is not a JSON object": 1}),
    "decimal-ids.jsonl": (
        4,
        2,
        {
            "user_id: a number with a fraction: write it as text": 1,
            "user_id: a decimal of 2^53 or more, which may have lost digits: write it as text": 1,
        },
    ),
}
"""Users, devices, and what is broken."""

REFUSED: dict[str, str] = {
    "keyed-by-id.json": "`users` is an object keyed by id, not a list: jq '.users |= [to_entries[] | {user_id: .key} + "
    ".value]' FILE > audience.json; byte 0",
    "not-a-number.json": f"NaN {NULL}; byte 561, in or after record 2 (counted from 0)",
    "table.csv": "a table (CSV), not JSON: notifier convert FILE -o audience.jsonl; byte 0",
}


def inspect(name: str) -> Inspection:
    """What `notifier validate --users-only` finds."""
    path = SAMPLES / name
    inspector = Inspector(name, lambda _: iter(()), 0, 0.0)
    inspector.take_records(read_local(path, parser_for(path, FileKind.USERS)))
    return inspector.finish()


def test_every_sample_is_looked_at() -> None:
    """None is there without a line that says what becomes of it."""
    assert {path.name for path in SAMPLES.iterdir()} == READ.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str) -> None:
    """Users, devices and reasons are the same whether it is inspected or counted."""
    users, devices, reasons = READ[name]
    found = inspect(name)
    assert not found.faults
    assert (found.figures.users, found.figures.devices, found.broken_by_reason) == (users, devices, reasons)
    tally = AudienceCounter()
    for piece in read_local(SAMPLES / name, parser_for(SAMPLES / name, FileKind.USERS)):
        tally.take(piece)
    assert (tally.figures.users, tally.figures.devices) == (users, devices)
    assert tally.figures.invalid_records == sum(reasons.values())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    """With the reason, the position, and the command that fixes it."""
    [fault] = inspect(name).faults
    assert fault.problem == f"{SAMPLES / name}: {REFUSED[name]}"


def test_attributes_keep_their_names() -> None:
    """Of the table in capitals `FIRST_NAME` is an attribute, and the locale is known."""
    figures = inspect("upper-columns.jsonl").figures
    assert (figures.attributes, figures.locales) == ({"FIRST_NAME": 4}, {"de": 4})


def test_an_audience_without_a_valid_device_is_a_fault(tmp_path: Path) -> None:
    """As the worker refuses it, with the first reasons; an empty one too."""
    path = tmp_path / "users.json"
    for users, words in (
        ([{"user_id": "a"}, {"user_id": "b", "token": "t"}, 7], "of 3 records none can be sent to: token: missing"),
        ([], "the audience is empty: there is nobody to send to"),
    ):
        path.write_text(json.dumps(users))
        inspector = Inspector("x", lambda _: iter(()), 0, 0.0)
        inspector.take_records(read_local(path, parser_for(path, FileKind.USERS)))
        [fault] = inspector.finish().faults
        assert fault.problem.startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "the audience is empty"),
        (b"\xef\xbb\xbf \n", "the audience is empty"),
        (b'{"users": null}', "`users` is null, not a list"),
        (b'{"users": []}', "the audience is empty"),
    ],
)
def test_nothing_at_all(tmp_path: Path, text: bytes, words: str) -> None:
    """A file with nothing in it is no audience."""
    path = tmp_path / "users.json"
    path.write_bytes(text)
    inspector = Inspector("x", lambda _: iter(()), 0, 0.0)
    inspector.take_records(read_local(path, parser_for(path, FileKind.USERS)))
    [fault] = inspector.finish().faults
    assert words in fault.problem
