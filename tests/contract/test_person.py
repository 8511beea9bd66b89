"""One person: found in every run, by the index of the audience where there is one, and noted in the trail."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple

import pytest

from notifier.model.campaign import Campaign, Message
from reporting.person import find, plan
from reporting.trail import PREFIX, LookUp, hashed, note
from sandbox.audience import Recipe, users
from tests.contract.moto_stores import client_of, new_name, server_for
from tests.made_run import MadeRun, make_run

PEOPLE = list(users(Recipe(users=1_300, seed=1)))
WHO = "user-1-000000123"
LEFT_OUT = "user-1-000000007"
PREPARED = "audiences/prepared/0123456789/attempt=1"


class Stack(NamedTuple):
    """A bucket with two runs over the same people: one read as it was, one from a prepared audience."""

    client: Any
    bucket: str
    plain: MadeRun
    prepared: MadeRun


def digest(user: dict[str, Any]) -> str:
    return sha256(user["user_id"].encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with server_for("s3") as endpoint:
        client = client_of("s3", endpoint)
        bucket = new_name("person")
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        first = make_run(client, bucket, campaign("first"), (PEOPLE,), time.time(), suppressed=[LEFT_OUT])
        ordered = sorted(PEOPLE, key=digest)
        parts = (ordered[:1_000], ordered[1_000:])
        second = make_run(client, bucket, campaign("second"), parts, time.time() + 60, folder=PREPARED)
        manifest = {
            "version": 1,
            "parts": [
                {
                    "first_record": n * 1_000,
                    "first_hash": digest(part[0]),
                    "batches": [digest(user) for user in part[::500]],
                }
                for n, part in enumerate(parts)
            ],
        }
        client.put_object(Bucket=bucket, Key=f"{PREPARED}/_manifest.json", Body=json.dumps(manifest).encode())
        yield Stack(client, bucket, first, second)
        client.close()


def campaign(name: str) -> Campaign:
    return Campaign(name, Message(title="t", body="b"), control_percent=Decimal(10))


def test_every_run_has_them(stack: Stack) -> None:
    """Rows of both runs, oldest first; of the prepared audience one batch is read, of the other one all."""
    planned = plan(stack.client, stack.bucket, WHO)
    sizes = {run.run_id: (len({key.partition(".")[0] for key in run.keys}), run.by_index) for run in planned.runs}
    assert sizes[stack.prepared.run_id] == (1, True)
    # Three batches of rows, and the list of users left out of the first.
    assert sizes[stack.plain.run_id] == (4, False)
    found = find(stack.client, stack.bucket, WHO, planned)
    assert [(row.run_id, row.campaign_id) for row in found.rows] == [
        (stack.plain.run_id, "first"), (stack.prepared.run_id, "second"),
    ]  # fmt: skip
    assert {row.user_id for row in found.rows} == {WHO}
    assert "2 runs: 1 by the index of their audience, 1 whole" in planned.in_words


@pytest.mark.parametrize("n", range(0, 1_300, 97))
def test_the_index_leads_to_everybody(stack: Stack, n: int) -> None:
    """Whoever it is, the one batch that is read has their row: first and last of a batch and of a part too."""
    user_id = str(sorted(PEOPLE, key=digest)[n]["user_id"])
    planned = plan(stack.client, stack.bucket, user_id)
    indexed = tuple(run for run in planned.runs if run.by_index)
    found = find(stack.client, stack.bucket, user_id, type(planned)(indexed))
    assert [row.user_id for row in found.rows] == [user_id]


def test_who_was_left_out_is_found_too(stack: Stack) -> None:
    """A suppressed user has no row in that run, and the reason is found."""
    found = find(stack.client, stack.bucket, LEFT_OUT, plan(stack.client, stack.bucket, LEFT_OUT))
    assert [(one.run_id, one.campaign_id, one.reason) for one in found.excluded] == [
        (stack.plain.run_id, "first", "suppressed")
    ]
    assert [row.run_id for row in found.rows] == [stack.prepared.run_id]


def test_a_part_of_an_id_finds_nobody(stack: Stack) -> None:
    """Only the whole id is one: whose id begins with it is another user."""
    found = find(stack.client, stack.bucket, "user-1-00000012", plan(stack.client, stack.bucket, "user-1-00000012"))
    assert (found.rows, found.excluded) == ((), ())


def test_since(stack: Stack) -> None:
    """Runs that ended before the day are not read."""
    assert plan(stack.client, stack.bucket, WHO, time.time() + 3_600).objects == 0


def test_the_trail_names_nobody(stack: Stack) -> None:
    """Who looked, when, for what: the user is a hash."""
    now = datetime(2026, 11, 28, 9, tzinfo=UTC)
    entry = LookUp(now.isoformat(), "ann", "find", hashed(WHO, bytes(32)), 2, 2)
    key = note(stack.client, stack.bucket, entry, now)
    assert key.startswith(f"{PREFIX}2026-11/28T090000-")
    body = stack.client.get_object(Bucket=stack.bucket, Key=key)["Body"].read()
    assert WHO.encode() not in body
    assert json.loads(body)["by"] == "ann"
