"""A run over a prepared audience that was cut into windows: people are found in it and erased, and it is proved."""

import functools
import gzip
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from approval.store import Store, TestPush
from privacy.stack import Stack
from reporting.person import find, plan
from reporting.proof.audit import audit
from sandbox.audience import Recipe, users
from tests.contract.moto_stores import client_of, make_table, moto_server, new_name
from tests.contract.test_audit import CAMPAIGN
from tests.contract.test_erase import erased, left, put
from tests.made_run import MadeRun
from tests.prepared_run import make_prepared_run

PEOPLE = list(users(Recipe(users=2_600, seed=1)))
LEFT_OUT = [f"user-1-{n:09d}" for n in range(0, 2_600, 9)]
SENT = [str(one["user_id"]) for one in PEOPLE if one["user_id"] not in LEFT_OUT]


class Cut(NamedTuple):
    """A stack with one such run, and a test push that names one of its users."""

    stack: Stack
    run: MadeRun
    store: Store


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server for S3 and DynamoDB."""
    with moto_server() as url:
        yield url


@pytest.fixture(scope="module")
def cut(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """Found in by several tests; the last one erases."""
    s3, dynamodb = client_of("s3", endpoint), client_of("dynamodb", endpoint)
    bucket, table, approval = (new_name("cut") for _ in range(3))
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for name in (table, approval):
        make_table(dynamodb, name)
    folder = tmp_path_factory.mktemp("cut")
    run = make_prepared_run(s3, bucket, CAMPAIGN, PEOPLE, time.time(), folder, suppressed=LEFT_OUT)
    store = Store(dynamodb, approval)
    store.keep_test("request1", TestPush(1, "question", "", "bob@example.com", 1, run.run_id, ("x",), SENT[5]))
    return Cut(Stack(s3, dynamodb, bucket, table, "suppression/", approval), run, store)


@pytest.mark.parametrize("user_id", [*SENT[:: len(SENT) // 8], SENT[-1]])
def test_the_cut_leads_to_everybody(cut: Cut, user_id: str) -> None:
    """What was removed moved the others up: by the cut's own manifest one batch of each window is read, not all."""
    planned = plan(cut.stack.s3, cut.stack.bucket, user_id)
    [one] = planned.runs
    assert one.by_index
    batches = {key.split("/")[2][:14] for key in one.keys if key.startswith("rows/")}
    assert len(batches) == 2
    found = find(cut.stack.s3, cut.stack.bucket, user_id, planned)
    assert [row.user_id for row in found.rows] == [user_id]
    assert found.excluded == ()


@pytest.mark.parametrize("user_id", LEFT_OUT[:2])
def test_whom_the_cut_left_out_is_found(cut: Cut, user_id: str) -> None:
    """With the reason; there is no record of them."""
    found = find(cut.stack.s3, cut.stack.bucket, user_id, plan(cut.stack.s3, cut.stack.bucket, user_id))
    assert found.rows == ()
    assert [(one.run_id, one.reason, one.record) for one in found.excluded] == [(cut.run.run_id, "suppressed", None)]


def test_without_the_cuts_manifest_all_is_read(cut: Cut) -> None:
    """The prepared audience's own manifest would lead to other batches: where the cut's is gone, it is not asked."""
    s3, bucket = cut.stack.s3, cut.stack.bucket
    key = f"audiences/cut/run_id={cut.run.run_id}/_manifest.json"
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.delete_object(Bucket=bucket, Key=key)
    planned = plan(s3, bucket, SENT[7])
    assert not planned.runs[0].by_index
    assert len(find(s3, bucket, SENT[7], planned).rows) == 1
    assert find(s3, bucket, LEFT_OUT[1], plan(s3, bucket, LEFT_OUT[1])).excluded
    s3.put_object(Bucket=bucket, Key=key, Body=body)


def test_erased_everywhere(cut: Cut) -> None:
    """Prepared audience, cut, its list, rows, older versions of a file, a sample of the pages; then it is proved."""
    stack = cut.stack
    # By two processes: windows end with short batches, so that the second one cannot skip by the number of records.
    two = functools.partial(client_of, "s3", stack.s3.meta.endpoint_url)
    assert audit(stack.s3, stack.bucket, cut.run.run_id, make_client=two, split_from=1).in_words == "proved"
    gone = {*SENT[:3], SENT[5], *LEFT_OUT[:2]}
    put(stack, "audiences/export.jsonl", b'{"user_id": "%s"}\n' % SENT[5].encode())
    put(stack, "audiences/export.jsonl", gzip.compress(b'{"user_id": "%s"}\n{"user_id": "b"}\n' % SENT[1].encode()))
    places = {key.partition("/")[0] for key in left(stack, gone)}
    assert {"audiences", "rows", "excluded"} <= places
    found = erased(stack, *gone)
    assert found.is_done, found
    assert found.tests == 1
    assert left(stack, gone) == []
    assert [test.sample for test in cut.store.tests("request1")] == [""]
    # Everybody else is still found, of whom the index knows nothing any more.
    planned = plan(stack.s3, stack.bucket, SENT[7])
    assert len(find(stack.s3, stack.bucket, SENT[7], planned).rows) == 1
    for user_id in gone:
        nothing = find(stack.s3, stack.bucket, user_id, plan(stack.s3, stack.bucket, user_id))
        assert (nothing.rows, nothing.excluded) == ((), ())
    assert audit(stack.s3, stack.bucket, cut.run.run_id).in_words == f"proved, {len(gone)} erased"
