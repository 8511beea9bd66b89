"""The audit of a final cut: whoever was prepared is sent to or listed, with the same devices; tamperings of each."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from notifier.model.batch_file import PinnedObject
from reporting.proof.conclusion import NotProved
from reporting.proof.cut import check_everyone

USERS = [{"user_id": f"u{n}", "devices": [{"platform": "ios", "token": f"t{n}"}]} for n in range(20)]
LEFT_OUT = ("u3", "u12")
Objects = dict[str, list[dict[str, Any]]]


class Client:
    """S3, with the list of those who were left out."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self._body = gzip.compress(b"".join(json.dumps(one).encode() + b"\n" for one in listed))

    def get_object(self, **_: str) -> dict[str, Any]:
        """The list."""
        return {"Body": io.BytesIO(self._body)}


def objects() -> Objects:
    """Two prepared parts; of the cut the second is used as it is, but in another order within the first."""
    first, second = USERS[:15], USERS[15:]
    cut = [user for user in reversed(first) if user["user_id"] not in LEFT_OUT]
    listed = [{"run_id": "r1", "user_id": one, "reason": "suppressed"} for one in LEFT_OUT]
    return {"prepared": first, "kept": second, "cut": cut, "list": listed}


def checked(given: Objects, folder: Path) -> int:
    def fetched(part: PinnedObject, path: Path) -> Path:
        path.write_text("".join(json.dumps(user) + "\n" for user in given[part.key]), encoding="utf-8")
        return path

    prepared, kept, cut = (PinnedObject("b", key, "v", "e", 1) for key in ("prepared", "kept", "cut"))
    return check_everyone((Client(given["list"]), "b", "r1"), (prepared, kept), (cut, kept), fetched, folder)


def test_everyone_is_there(tmp_path: Path) -> None:
    """Whatever the order; an object that is in both is not read."""
    assert checked(objects() | {"kept": []}, tmp_path) == 15
    assert not list(tmp_path.iterdir())


def test_an_erased_user_has_no_id(tmp_path: Path) -> None:
    """One was sent to and one was left out: both are counted on both sides, and the others are still compared."""
    given = objects()
    given["prepared"][3] = given["prepared"][5] = {"erased": True}
    given["cut"][given["cut"].index(USERS[5])] = {"erased": True}
    given["list"][0]["user_id"] = "erased:0"
    assert checked(given, tmp_path) == 15
    given["cut"].remove({"erased": True})
    with pytest.raises(NotProved, match="1 user of the prepared audience neither sent to nor listed"):
        checked(given, tmp_path)


def drop(given: Objects) -> None:
    given["cut"].pop()


def add(given: Objects) -> None:
    given["cut"].append({"user_id": "new", "devices": []})


def exchange(given: Objects) -> None:
    given["cut"][-1] = {"user_id": "new", "devices": []}


def another_device(given: Objects) -> None:
    given["cut"][-1] = given["cut"][-1] | {"devices": [{"platform": "ios", "token": "mine"}]}


def send_to_a_listed_one(given: Objects) -> None:
    given["cut"].append(USERS[3])


def list_a_stranger(given: Objects) -> None:
    given["list"].append({"run_id": "r1", "user_id": "new", "reason": "suppressed"})


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (drop, "1 user of the prepared audience neither sent to nor listed"),
        (add, "1 user more sent to than prepared and not listed"),
        (exchange, "other users, or users with other devices, than in the prepared audience"),
        (another_device, "other users, or users with other devices, than in the prepared audience"),
        (send_to_a_listed_one, "1 user more sent to than prepared and not listed"),
        (list_a_stranger, "1 user listed as left out, but sent to or never prepared"),
    ],
)
def test_a_tampering_is_found(tmp_path: Path, tamper: Callable[[Objects], None], words: str) -> None:
    """A user dropped, added, exchanged, with another device, sent to and listed, or listed and never prepared."""
    given = objects()
    tamper(given)
    with pytest.raises(NotProved, match=words):
        checked(given, tmp_path)
