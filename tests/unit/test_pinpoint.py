"""Pinpoint's endpoint files become audiences, and nothing is left out without a word."""

import contextlib
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from notifier.model.record_reading import read_recipient
from operations.convert.files import output_to, text_of
from operations.convert.grouping import MAX_DEVICES
from operations.convert.pinpoint import CHANNELS, OTHER_CHANNELS, EndpointCounts, NotPinpoint, records

SAMPLES = Path(__file__).parents[2] / "events" / "pinpoint"


def converted(text: str) -> tuple[list[dict[str, Any]], EndpointCounts]:
    counts = EndpointCounts()
    return list(records(io.StringIO(text, newline=""), counts)), counts


@pytest.mark.parametrize("name", ["endpoints.csv", "endpoints.json"])
def test_samples_of_both_kinds_give_the_same_users(name: str) -> None:
    """CSV with dotted headers and newline-delimited JSON say the same: two users, and one known by an endpoint."""
    found, counts = converted((SAMPLES / name).read_text())
    assert [record["user_id"] for record in found] == ["user-1", "user-2", "e-9"]
    assert found[0]["attributes"] == {"FirstName": "Ann", "Interests": ["tea", "chess"], "Plan": "gold"}
    assert found[0]["locale"] == "en-GB"
    assert found[0]["timezone"] == "Europe/London"
    assert [device["platform"] for device in found[0]["devices"]] == ["ios", "android"]
    assert found[1]["devices"][0]["environment"] == "sandbox"
    assert found[1]["attributes"]["FirstName"] == 'Eva "E" Maria'
    assert (counts.endpoints, counts.devices, counts.users, counts.without_user_id) == (9, 4, 3, 1)
    assert counts.left_out == {"other_channel": 2, "opted_out": 1, "inactive": 1, "no_address": 1}


@pytest.mark.parametrize("name", ["endpoints.csv", "endpoints.json"])
def test_what_comes_out_is_an_audience(name: str) -> None:
    """Every record is a recipient with all of its devices."""
    found, _ = converted((SAMPLES / name).read_text())
    for record in found:
        recipient = read_recipient(json.loads(json.dumps(record)))
        assert not recipient.broken_devices


def test_every_channel_of_pinpoint_is_classified() -> None:
    """The service's own model names no channel that we would call unknown."""
    model = Loader().load_service_model("pinpoint", "service-2")
    assert set(model["shapes"]["ChannelType"]["enum"]) == CHANNELS.keys() | OTHER_CHANNELS


def test_endpoints_are_left_out_with_a_reason() -> None:
    """Each reason is counted, a channel we do not carry by its name."""
    lines = [
        {"Address": "t", "User": {"UserId": "u"}},
        {"ChannelType": "PIGEON", "Address": "t", "User": {"UserId": "u"}},
        {"ChannelType": "SMS", "Address": "+1"},
        {"ChannelType": "GCM", "Address": "t"},
        {"ChannelType": "GCM", "Address": "t", "OptOut": "ALL", "User": {"UserId": "u"}},
    ]
    found, counts = converted("\n".join(map(json.dumps, lines)) + "\n{broken\n[1]\n")
    assert found == []
    assert counts.left_out == {
        "no_channel": 1, "unknown_channel": 1, "other_channel": 1, "no_id": 1, "opted_out": 1, "not_readable": 2,
    }  # fmt: skip
    assert counts.channels_left_out == {"SMS": 1}


def test_dotted_names_in_json_are_taken() -> None:
    """A JSON line may hold the CSV's dotted names."""
    line = {"ChannelType": "GCM", "Address": "t", "User.UserId": 7, "User.UserAttributes.Name": "Ann"}
    found, _ = converted(json.dumps(line))
    assert found == [
        {"user_id": "7", "devices": [{"platform": "android", "token": "t"}], "attributes": {"Name": "Ann"}}
    ]


def test_names_in_small_letters_and_lists_are_taken() -> None:
    """As Athena and Redshift write columns; and endpoints in a list, on one line or on many."""
    one = {
        "id": "e",
        "channeltype": "APNS",
        "address": "t",
        "user": {"userid": "u", "userattributes": {"Name": ["Ann"]}},
    }
    two = {"Id": "f", "ChannelType": "GCM", "Address": "s", "User": {"UserId": "v"}}
    lines = f"[\n{json.dumps(one)},\n{json.dumps(two)}\n]\n"
    aggregated = f"[{json.dumps(one)}, \n {json.dumps(two)}]\n"  # as PostgreSQL's json_agg writes
    for text in (lines, aggregated, json.dumps([one, two]), f"{json.dumps(one)}\n{json.dumps(two)}\n"):
        counts = EndpointCounts()
        first, second = records(text.splitlines(keepends=True), counts)
        assert (first["user_id"], first["attributes"], second["user_id"]) == ("u", {"Name": "Ann"}, "v")
        assert counts.endpoints == 2
    table = "id,channeltype,address,user.userid\ne,APNS,t,u\n"
    [found] = records(table.splitlines(keepends=True), EndpointCounts())
    assert found["user_id"] == "u"


def test_neighbours_are_grouped_only_if_nothing_is_lost() -> None:
    """Two endpoints of a user with different locales stay two records, so that each phone gets its language."""
    header = "ChannelType,Address,User.UserId,Demographic.Locale\n"
    alike, _ = converted(header + "GCM,a,u,de_AT\nGCM,b,u,de_AT\n")
    different, _ = converted(header + "GCM,a,u,de_AT\nGCM,b,u,fr_FR\n")
    assert [len(record["devices"]) for record in alike] == [2]
    assert [record["locale"] for record in different] == ["de-AT", "fr-FR"]


def test_a_record_has_an_end() -> None:
    """However many endpoints of one user follow each other, a record holds at most a hundred."""
    found, counts = converted("ChannelType,Address,User.UserId\n" + "GCM,a,u\n" * (MAX_DEVICES + 1))
    assert [len(record["devices"]) for record in found] == [MAX_DEVICES, 1]
    assert counts.users == 2


def test_the_users_own_attribute_wins() -> None:
    """Where user and endpoint have an attribute of one name, the user's is taken."""
    found, _ = converted("ChannelType,Address,User.UserId,User.UserAttributes.A,Attributes.A\nGCM,t,u,his,its\n")
    assert found[0]["attributes"] == {"A": "his"}


def test_a_field_may_hold_a_line_end() -> None:
    """A quoted CSV field keeps its line end."""
    found, _ = converted('ChannelType,Address,User.UserId,Attributes.A\r\nGCM,t,u,"one\r\ntwo"\r\n')
    assert found[0]["attributes"] == {"A": "one\r\ntwo"}


def test_another_file_is_refused() -> None:
    """A CSV without Pinpoint's columns is not taken for one."""
    with pytest.raises(NotPinpoint, match="ChannelType and Address"):
        converted("name,phone\nAnn,1\n")


def test_an_empty_file_has_nobody() -> None:
    """Nothing comes of nothing."""
    assert converted("\n\n") == ([], EndpointCounts())


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    """Export jobs wrote gzip; the name does not matter, and a byte order mark is no part of the first column."""
    path = tmp_path / "export"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + (SAMPLES / "endpoints.csv").read_bytes()))
    counts = EndpointCounts()
    with text_of(path) as text:
        assert len(list(records(text, counts))) == 3


def test_output_is_complete_or_not_there(tmp_path: Path) -> None:
    """A conversion that fails leaves no file that looks whole; `.gz` is written as gzip."""
    path = tmp_path / "audience.json.gz"
    with contextlib.suppress(ZeroDivisionError), output_to(path) as out:
        out.write(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with output_to(path) as out:
        out.write(b"whole")
    assert gzip.decompress(path.read_bytes()) == b"whole"
