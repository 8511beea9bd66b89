"""The published JSON Schema says what the notifier takes."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from operations.schema import as_text, batch_file_schema

ROOT = Path(__file__).parents[2]
GOOD: dict[str, Any] = json.loads((ROOT / "events/batches/inline.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(batch_file_schema())


def test_the_kept_schema_is_the_types() -> None:
    """`docs/batch-file.schema.json` is what `python -m operations.schema` prints: print it again after a change."""
    assert (ROOT / "docs/batch-file.schema.json").read_text(encoding="utf-8") == as_text()


def test_it_is_a_schema() -> None:
    """It holds to its own dialect."""
    jsonschema.Draft202012Validator.check_schema(batch_file_schema())


@pytest.mark.parametrize("path", sorted((ROOT / "events/batches").glob("*.json")), ids=lambda path: path.stem)
def test_samples(path: Path) -> None:
    """Every sample batch file is valid."""
    VALIDATOR.validate(json.loads(path.read_text(encoding="utf-8")))


def changed(**changes: Any) -> dict[str, Any]:
    """The inline sample with another campaign."""
    return GOOD | {"campaign": GOOD["campaign"] | changes}


USER = {"user_id": "u", "platform": "ios", "token": "t"}
BROKEN = {
    "empty": {},
    "no users": {"campaign": GOOD["campaign"]},
    "users and audience": GOOD | {"audience": {"parts": [{"key": "k"}]}},
    "an unknown key at the top": GOOD | {"user": []},
    "no parts": {"campaign": GOOD["campaign"], "audience": {"parts": []}},
    "a part without a key": {"campaign": GOOD["campaign"], "audience": {"parts": [{"bucket": "b"}]}},
    "an unknown field": changed(titel="x"),
    "an id of two lines": changed(id="a\n"),
    "an id that is a number": changed(id=1),
    "control above 100": changed(control_percent=100.5),
    "control as a text": changed(control_percent="ten"),
    "a variant's name": changed(variants=[{"name": "A", "percent": 100}]),
    "a variant without percent": changed(variants=[{"name": "a"}]),
    "an empty data": changed(message={"title": "T", "data": {"a": 1}}),
    "a ttl too long": changed(message={"title": "T", "ttl_s": 10**9}),
    "a pace of none": changed(per_second=0),
    "a user without devices": GOOD | {"users": [{"user_id": "u"}]},
    "a user without an id": GOOD | {"users": [{"platform": "ios", "token": "t"}]},
    "an id that is a list": GOOD | {"users": [USER | {"user_id": []}]},
    "an unknown platform": GOOD | {"users": [USER | {"platform": "pager"}]},
    "an empty token": GOOD | {"users": [USER | {"token": ""}]},
    "no device in the list": GOOD | {"users": [{"user_id": "u", "devices": []}]},
    "a device without a token": GOOD | {"users": [{"user_id": "u", "devices": [{"platform": "ios"}]}]},
    "attributes in a list": GOOD | {"users": [USER | {"attributes": []}]},
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str) -> None:
    """What the notifier would refuse, the schema refuses as far as a schema can."""
    assert not VALIDATOR.is_valid(BROKEN[name])


def test_flat_exports() -> None:
    """Other members of a record are attributes, nulls included."""
    VALIDATOR.validate(GOOD | {"users": [USER | {"devices": None, "credits": 3, "city": None}]})


def test_every_field_is_described() -> None:
    """Who reads the schema learns what each field of the campaign does."""
    definitions = batch_file_schema()["$defs"]
    for name in ("Campaign", "Message", "Variant", "Part", "Audience"):
        assert definitions[name]["description"]
        for field, node in definitions[name]["properties"].items():
            assert node.get("description"), f"{name}.{field}"
