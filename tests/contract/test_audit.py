"""The audit of a run: proved when nothing was touched, and each tampering found at its first place."""

import functools
import gzip
import json
import re
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from approval.request import content_hash as approved_hash
from notifier.model.campaign import Campaign, Goal, Message, Part, Variant
from notifier.model.run import Ending
from reporting.proof.audit import audit, content_hash
from reporting.proof.conclusion import Audit, Conclusion
from reporting.proof.erased import FILES, PREFIX, Replaced, Tombstone, erased_id
from reporting.proof.evidence import SLACK_MS
from reporting.proof.pinned import EtagDigest
from sandbox.audience import Recipe, users
from tests.contract.moto_stores import client_of, new_name, server_for
from tests.made_run import MadeRun, make_run

CAMPAIGN = Campaign(
    "audited",
    Message(title="Hi {{ first_name }}", body="b"),
    (Variant("question", Decimal("44.55"), Message(title="Who?")), Variant("statement", Decimal("45.45"))),
    Decimal(10),
    goal=Goal("opened", 72, 12.5),
)
PEOPLE: list[dict[str, Any]] = [
    *users(Recipe(users=1_300, broken=12, seed=1)),
    # A user with two rows next to each other, one of three devices, and one token twice.
    {"user_id": "rows", "platform": "ios", "token": "ab" * 32, "first_name": "A"},
    {"user_id": "rows", "platform": "android", "token": "x" * 40, "first_name": "A"},
    {
        "user_id": "many",
        "devices": [{"platform": "android", "token": t * 30} for t in "abb"],
        "attributes": {"first_name": "B"},
    },
]


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 client."""
    with server_for("s3") as endpoint:
        client = client_of("s3", endpoint)
        yield client
        client.close()


def made(s3: Any, **changes: Any) -> MadeRun:
    """A run in a bucket of its own, in two parts."""
    bucket = new_name("audit")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    people = changes.pop("people", PEOPLE)
    return make_run(
        s3,
        bucket,
        changes.pop("campaign", CAMPAIGN),
        (people[: len(people) // 2], people[len(people) // 2 :]),
        time.time(),
        **changes,
    )


def audited(run: MadeRun) -> Audit:
    return audit(run.client, run.bucket, run.run_id)


@pytest.fixture(scope="module")
def untouched(s3: Any) -> MadeRun:
    return made(s3, suppressed=["user-1-000000005"], exclude=["user-1-000000007", "rows"])


def test_proved(untouched: MadeRun) -> None:
    """Deferred rounds, broken records, joined rows, excluded and suppressed users: all of it is recomputed."""
    seen: list[int] = []
    found = audit(untouched.client, untouched.bucket, untouched.run_id, lambda done, _: seen.append(done))
    assert found.in_words == "proved", found
    assert [step.name for step in found.steps] == [
        "batch file", "approval", "campaign", "audience", "settlements", "arms", "rows", "dead tokens", "summary",
    ]  # fmt: skip
    assert found.rows == untouched.account.devices
    assert seen[-1] == untouched.account.users


@pytest.mark.slow
def test_two_processes_say_what_one_says(s3: Any) -> None:
    """A large run is audited by two processes: the same links, and a fault of either's share is found."""
    run = made(s3, suppressed=["user-1-000000005"])
    make_client = functools.partial(client_of, "s3", s3.meta.endpoint_url)
    one = audited(run)
    assert one.conclusion is Conclusion.PROVED

    def by_two() -> Audit:
        return audit(run.client, run.bucket, run.run_id, make_client=make_client, split_from=0)

    assert by_two() == one
    rows(lambda lines: lines[3].update(user_id="somebody"), "batch=00000002.json.gz")(run)
    assert by_two().place.endswith("batch=00000002.json.gz")
    rows(lambda lines: lines[3].update(user_id="somebody"))(run)
    assert by_two().place.endswith(FIRST)


def test_a_run_that_was_ended_early(s3: Any) -> None:
    """What is settled is proved; deferred devices and batches that were never settled are no gap."""
    found = audited(made(s3, ending=Ending.CANCELLED))
    assert found.in_words == "proved", found
    assert "1 batches were not settled" in {step.name: step.found for step in found.steps}["rows"]


def test_a_claim_that_died_before_its_rows(s3: Any) -> None:
    """The dead tokens that it has listed are those of the claim that settled the batch: each is counted once."""
    run = made(s3, people=PEOPLE[:750])
    found = audited(run)
    assert found.steps[7].found != "0, each of a rejected device of its user"
    key = f"dead-tokens/run_id={run.run_id}/batch=00000000.e3.json.gz"
    run.client.put_object(Bucket=run.bucket, Key=key.replace(".e3.", ".e2."), Body=body(run, key))
    assert audited(run) == found


def test_a_file_without_approval(s3: Any) -> None:
    """A file that was dropped by hand is proved as well, and the audit says that nobody approved it."""
    found = audited(made(s3, approved=False, people=PEOPLE[:750]))
    assert found.in_words == "proved"
    assert found.steps[1].found == "none: the file did not come from the approval pages"


# -- tamperings -------------------------------------------------------------------------------------------------------

Tamper = Callable[[MadeRun], None]
FIRST = "batch=00000000.json.gz"


def body(run: MadeRun, key: str) -> bytes:
    found: bytes = run.client.get_object(Bucket=run.bucket, Key=key)["Body"].read()
    return found


def replace(run: MadeRun, key: str, content: bytes, *, hide: bool = True) -> None:
    """Put other bytes in an object's place, with its metadata; `hide` deletes every older version."""
    metadata = run.client.head_object(Bucket=run.bucket, Key=key)["Metadata"]
    new = run.client.put_object(Bucket=run.bucket, Key=key, Body=content, Metadata=metadata)["VersionId"]
    for one in run.client.list_object_versions(Bucket=run.bucket, Prefix=key)["Versions"] if hide else ():
        if one["Key"] == key and one["VersionId"] != new:
            run.client.delete_object(Bucket=run.bucket, Key=key, VersionId=one["VersionId"])


def rows(change: Callable[[list[dict[str, Any]]], object], name: str = FIRST, *, hide: bool = True) -> Tamper:
    """Change the rows of one object."""

    def tamper(run: MadeRun) -> None:
        key = f"rows/run_id={run.run_id}/{name}"
        lines = [json.loads(line) for line in gzip.decompress(body(run, key)).splitlines()]
        change(lines)
        packed = gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        replace(run, key, packed, hide=hide)

    return tamper


def state(change: Callable[[dict[str, Any]], object]) -> Tamper:
    """Change what the run began with."""

    def tamper(run: MadeRun) -> None:
        key = f"state/run_id={run.run_id}/campaign.json"
        value = json.loads(body(run, key))
        change(value)
        replace(run, key, json.dumps(value).encode())

    return tamper


def summary(change: Callable[[dict[str, Any]], object]) -> Tamper:
    """Change the summary."""

    def tamper(run: MadeRun) -> None:
        key = f"summaries/run_id={run.run_id}/summary.json"
        value = json.loads(body(run, key))
        change(value)
        replace(run, key, json.dumps(value).encode())

    return tamper


def other_bytes(run: MadeRun) -> None:
    """The audience's object with another user, at the same key: the pinned version is deleted."""
    part = run.admitted.parts[0]
    replace(run, part.key, body(run, part.key).replace(b"user-1-000000001", b"user-9-000000001"))


def other_batch_file(run: MadeRun) -> None:
    replace(run, run.source.key, body(run, run.source.key).replace(b"Who?", b"You?"))


def add(run: MadeRun, key: str, content: bytes) -> None:
    run.client.put_object(Bucket=run.bucket, Key=key, Body=gzip.compress(content), Metadata={"epoch": "3"})


def delete(prefix: str) -> Tamper:
    return lambda run: run.client.delete_object(Bucket=run.bucket, Key=f"{prefix}/run_id={run.run_id}/{FIRST}")


def dead_token(run: MadeRun) -> None:
    key = f"dead-tokens/run_id={run.run_id}/batch=00000000.e3.json.gz"
    lines = gzip.decompress(body(run, key)).splitlines()
    accepted = json.loads(lines[0]) | {"token": "z" * 64}
    replace(run, key, gzip.compress(json.dumps(accepted).encode() + b"\n"))


def swapped(lines: list[dict[str, Any]]) -> None:
    """Swap the outcomes of a control user and of another: the totals stay."""
    held = next(line for line in lines if line["outcome"] == "held")
    sent = next(line for line in lines if line["outcome"] == "accepted")
    held["outcome"], sent["outcome"] = sent["outcome"], held["outcome"]


def first_ios(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return next(line for line in lines if line["apns_id"])


def row(**changes: Any) -> Tamper:
    """Change the fourth row of the first batch."""
    return rows(lambda lines: lines[3].update(changes))


def failed_instead(lines: list[dict[str, Any]]) -> None:
    next(line for line in lines if line["outcome"] == "accepted").update(outcome="failed", reason="x")


def not_gzip(run: MadeRun) -> None:
    replace(run, f"rows/run_id={run.run_id}/{FIRST}", b"x")


def added(name: str) -> Tamper:
    return lambda run: add(run, f"rows/run_id={run.run_id}/{name}", b"")


def less_users(found: dict[str, Any]) -> None:
    found["users"] -= 1


LATER = "batch=00000000.r1.json.gz"
STATE, SUMMARY = "campaign.json", "summary.json"
TAMPERINGS: dict[str, tuple[Tamper, str, str]] = {
    "a row's user": (row(user_id="somebody"), FIRST, "is of another user"),
    "a row's arm": (row(arm="control", outcome="held"), FIRST, "the hash says"),
    "a row's outcome": (rows(failed_instead), SUMMARY, "arm "),
    "two outcomes swapped": (rows(swapped), FIRST, "only control is held"),
    "a row's run": (row(run_id="0" * 20), FIRST, "another run"),
    "a row's platform": (row(platform="web"), FIRST, "another platform"),
    "a row's push id": (rows(lambda lines: first_ios(lines).update(apns_id="0" * 32)), FIRST, "push id"),
    "a row added": (rows(lambda lines: lines.append(lines[0] | {"device": 9})), FIRST, "no such device"),
    "a row removed": (rows(lambda lines: lines.pop(5)), FIRST, "has no row"),
    "a row doubled": (rows(lambda lines: lines.append(lines[5])), FIRST, "has two rows"),
    "rows of a later round removed": (rows(lambda lines: lines.clear(), LATER), FIRST, "has no row"),
    "rows written again, as they were": (rows(lambda _: None, hide=False), FIRST, "written again"),
    "rows that are no rows": (not_gzip, FIRST, "not the lines"),
    "a batch removed": (delete("rows"), FIRST, "it is missing, and a later round is there"),
    "a batch added": (added("batch=00000009.json.gz"), "batch=00000009", "the audience does not have"),
    "an object that is no batch": (added("more.json.gz"), "more.json.gz", "not the name"),
    "another message": (state(lambda s: s["campaign"]["message"].update(title="Bye")), STATE, "another campaign"),
    "another split": (state(lambda s: s["campaign"]["variants"][0].update(percent=44)), STATE, "another campaign"),
    "another audience": (state(lambda s: s["parts"].reverse()), STATE, "another audience"),
    "a part of the audience removed": (state(lambda s: s["parts"].pop()), STATE, "another number of parts"),
    "a dead token": (dead_token, "batch=00000000.e3", "that no device of this batch has"),
    "the summary's users": (summary(less_users), SUMMARY, "it says users"),
    "the summary's arms": (summary(lambda s: s["arms"]["control"].update(assigned=1)), SUMMARY, "arm control"),
}
"""What is done, where it is found, and what is said. docs/audit.md has the same table."""


def test_the_page_has_every_tampering() -> None:
    """The table in docs/audit.md names each, and another batch file and content that was not approved."""
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| ([^|]+?) +\|", page, re.MULTILINE)
    wanted = {*TAMPERINGS, "another batch file", "content that was not approved"}
    assert wanted - set(named) == set()


Snapshot = dict[str, tuple[str, bytes, dict[str, str]]]
"""ETag, bytes and metadata of every object, by key."""


def versions_of(run: MadeRun) -> list[dict[str, Any]]:
    found = run.client.list_object_versions(Bucket=run.bucket)
    return [*found["Versions"], *found.get("DeleteMarkers", ())]


@pytest.fixture(scope="module")
def victim(s3: Any) -> tuple[MadeRun, Snapshot]:
    """A run that the tests tamper with, one after the other, and what it is restored from."""
    run = made(s3, people=PEOPLE[:510])
    snapshot = {}
    for one in versions_of(run):
        found = run.client.get_object(Bucket=run.bucket, Key=one["Key"])
        snapshot[one["Key"]] = (one["ETag"], found["Body"].read(), found["Metadata"])
    return run, snapshot


def restore(run: MadeRun, snapshot: Snapshot) -> None:
    """Undo whatever was done: one version of each object, with its bytes."""
    versions = versions_of(run)
    touched = {
        one["Key"] for one in versions if not one["IsLatest"] or one.get("ETag") != snapshot.get(one["Key"], ("",))[0]
    }
    for one in versions:
        if one["Key"] in touched:
            run.client.delete_object(Bucket=run.bucket, Key=one["Key"], VersionId=one["VersionId"])
    for key in touched & snapshot.keys():
        _, content, metadata = snapshot[key]
        run.client.put_object(Bucket=run.bucket, Key=key, Body=content, Metadata=metadata)


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_is_found(victim: tuple[MadeRun, Snapshot], name: str) -> None:
    """Each tampering is found at its place, whatever else agrees."""
    tamper, place, words = TAMPERINGS[name]
    run, snapshot = victim
    tamper(run)
    found = audited(run)
    restore(run, snapshot)
    assert found.conclusion is Conclusion.NOT_PROVED, found
    assert place in found.place
    assert words in found.problem


def test_restored_it_is_proved_again(victim: tuple[MadeRun, Snapshot]) -> None:
    """So each test above began with a run that is proved."""
    assert audited(victim[0]).in_words == "proved"


def test_another_batch_file(s3: Any) -> None:
    """A file put in the place of the one that was sent makes another run's id; and other content is not approved."""
    run = made(s3, people=PEOPLE[:300])
    other_batch_file(run)
    assert "no version of it makes this run's id" in audited(run).problem
    found = audited(made(s3, people=PEOPLE[:300], approved_hash="0" * 64))
    assert (found.place.rpartition("/")[2], found.conclusion) == ("audited.json", Conclusion.NOT_PROVED)
    assert "do not have the hash that was approved" in found.problem


def test_bytes_that_are_gone_prove_nothing(s3: Any) -> None:
    """Where the pinned version is gone the audit says so: it is no proof of a tampering, and none of the run."""
    run = made(s3, people=PEOPLE[:300])
    other_bytes(run)
    assert audited(run).in_words.startswith("cannot be proved: s3://")
    run.client.delete_object(Bucket=run.bucket, Key=f"state/run_id={run.run_id}/campaign.json")
    assert "has expired (WorkDays)" in audited(run).problem


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_run_that_never_began(s3: Any, status: str) -> None:
    """It has stored nothing under `state/`: that it expired would be untrue."""
    run = made(s3, ending=Ending.CANCELLED)
    key = f"summaries/run_id={run.run_id}/summary.json"
    summary = json.loads(s3.get_object(Bucket=run.bucket, Key=key)["Body"].read())
    s3.delete_object(Bucket=run.bucket, Key=f"state/run_id={run.run_id}/campaign.json")
    assert "state/ is gone" in audit(s3, run.bucket, run.run_id).in_words
    s3.put_object(Bucket=run.bucket, Key=key, Body=json.dumps(summary | {"status": status, "users": 0}).encode())
    found = audit(s3, run.bucket, run.run_id).in_words
    assert found == f"cannot be proved: nothing was sent: the run was over ({status}) before it began, and left no rows"


def test_rows_written_after_the_end(s3: Any) -> None:
    """An object that is younger than the run's end was not written by the run."""
    bucket = new_name("audit")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    run = make_run(s3, bucket, CAMPAIGN, (PEOPLE[:300],), time.time() - 2 * SLACK_MS / 1000)
    assert "after the run's end" in audited(run).problem


# -- erased users -----------------------------------------------------------------------------------------------------


class Eraser:
    """Erases by hand, as the tombstone's contract says."""

    def __init__(self, run: MadeRun, user_ids: set[str]) -> None:
        self.run = run
        self.user_ids = user_ids
        self.replaced: list[Replaced] = []
        self.erased: set[int] = set()

    def erase(self) -> None:
        first = 0
        for part in self.run.admitted.parts:
            lines = body(self.run, part.key).splitlines()
            for n, line in enumerate(lines):
                if json.loads(line).get("user_id") in self.user_ids:
                    self.erased.add(first + n)
                    lines[n] = b'{"erased":true}'
            first += len(lines)
            self.put(part.key, b"\n".join(lines) + b"\n", f"{FILES}run_id={self.run.run_id}/{len(self.replaced)}")
        file = self.run.source.key
        self.put(file, body(self.run, file), f"{FILES}run_id={self.run.run_id}/file")
        for folder in ("rows", "excluded", "dead-tokens"):
            pages = self.run.client.list_objects_v2(
                Bucket=self.run.bucket, Prefix=f"{folder}/run_id={self.run.run_id}/"
            )
            for one in pages.get("Contents", ()):
                self.lines(one["Key"])
        tombstone = Tombstone(self.run.run_id, 1, "ann", len(self.user_ids), tuple(self.replaced))
        key = f"{PREFIX}run_id={self.run.run_id}/1.json"
        self.run.client.put_object(Bucket=self.run.bucket, Key=key, Body=msgspec.json.encode(tombstone))

    def lines(self, key: str) -> None:
        lines = [json.loads(line) for line in gzip.decompress(body(self.run, key)).splitlines()]
        kept = []
        for line in lines:
            if line["user_id"] in self.user_ids:
                if "record" not in line:
                    continue  # a dead token has no number, and is only dropped
                line["user_id"] = erased_id(line["record"])
                line |= {name: None for name in ("apns_id", "message_id", "locale") if name in line}
            kept.append(line)
        packed = gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in kept))
        if kept != lines or any("erased:" in line["user_id"] for line in kept):
            self.put(key, packed, key)

    def put(self, key: str, content: bytes, new_key: str) -> None:
        client, bucket = self.run.client, self.run.bucket
        head = client.head_object(Bucket=bucket, Key=key)
        old = body(self.run, key)
        new = client.put_object(Bucket=bucket, Key=new_key, Body=content, Metadata=head["Metadata"])
        client.delete_object(Bucket=bucket, Key=key, VersionId=head["VersionId"])
        hashes = sha256(old).hexdigest(), sha256(content).hexdigest()
        self.replaced.append(
            Replaced(
                bucket, key, head["VersionId"], head["ETag"].strip('"'), hashes[0], new_key, new["VersionId"],
                new["ETag"].strip('"'), len(content), hashes[1], 1,
            )
        )  # fmt: skip


def test_after_an_erasure(s3: Any) -> None:
    """Proved, with the erased; a row that still has an id, or bytes that no tombstone names, are found."""
    gone = {"user-1-000000003", "user-1-000000004", "user-1-000000005", "user-1-000000400"}
    run = made(s3, people=PEOPLE[:510], suppressed=["user-1-000000005"])
    eraser = Eraser(run, gone)
    eraser.erase()
    assert len(eraser.erased) == 4
    assert audited(run).in_words == "proved, 4 erased", audited(run)
    everything = b"".join(body(run, key) for key in keys_of(run) if not key.endswith(".gz"))
    assert not any(user.encode() in everything for user in gone)

    part = eraser.replaced[0]
    replace(run, part.new_key, body(run, part.new_key) + b"\n")
    assert audited(run).conclusion is not Conclusion.PROVED


def test_an_id_that_was_left_is_found(s3: Any) -> None:
    """Whoever erases by other means than the tombstone says is found out: the row's bytes are another's."""
    run = made(s3, people=PEOPLE[:300])
    Eraser(run, {"user-1-000000003"}).erase()
    rows(lambda lines: lines[3].update(user_id="user-1-000000003"))(run)
    assert "not those that the erasure wrote" in audited(run).problem


def keys_of(run: MadeRun) -> list[str]:
    return [one["Key"] for one in versions_of(run) if "ETag" in one]


def test_the_restated_hash_is_the_approved_one() -> None:
    """The audit computes the approved hash by itself, and gets what the pages get."""
    parts = (Part("audiences/a.json", "b", "v", "e"),)
    assert content_hash(CAMPAIGN, parts) == approved_hash(CAMPAIGN, parts)


@pytest.mark.parametrize("size", [1, 5_242_880, 5_242_881])
def test_etags_of_multipart_uploads(s3: Any, size: int) -> None:
    """The ETag is recomputed for uploads in parts too, at and around the parts' borders."""
    bucket, data, part = new_name("etag"), bytes(size % 251 for _ in range(size)), 5_242_880
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    pieces = [data[n : n + part] for n in range(0, max(size, 1), part)]
    parts = [
        {
            "PartNumber": n,
            "ETag": s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=n, Body=one)["ETag"],
        }
        for n, one in enumerate(pieces, 1)
    ]
    done = s3.complete_multipart_upload(
        Bucket=bucket,
        Key="k",
        UploadId=upload,
        MultipartUpload={"Parts": [{name: one[name] for name in ("PartNumber", "ETag")} for one in parts]},
    )
    digest = EtagDigest(part)
    for n in range(0, size, 1_000_003):
        digest.update(data[n : n + 1_000_003])
    assert f'"{digest.etag()}"' == done["ETag"]
