"""The results' contract, held by the ones in S3 and by their twin in memory."""

import gzip
import importlib
import importlib.util
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from botocore.awsrequest import AWSResponse
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from notifier.content.render import RenderedTexts
from notifier.model.account import Account
from notifier.model.cursor import Cursor
from notifier.model.outcome import Outcome
from notifier.model.recipient import Device, Platform
from notifier.model.store_error import StoreRefused
from notifier.sending.batch import Batch, Push
from notifier.stores.direct_put import MOST_FAILURES, DirectPut
from notifier.stores.s3_results import S3Results
from reporting.rows import count_dead_tokens, read_rows
from tests.contract.moto_stores import KEYS, client_of, lost_answer, new_name, server_for

TWIN = "tests.twins.settlements"
KINDS = ("s3", "s3-direct", "memory") if importlib.util.find_spec(TWIN) else ("s3", "s3-direct")
AT = "2026-11-21 09:00:00.000"
TOKEN = "a-token-that-nobody-may-see"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An S3 client."""
    with server_for("s3") as endpoint:
        client = client_of("s3", endpoint)
        yield client
        client.close()


@pytest.fixture
def bucket(s3: Any) -> str:
    """A bucket of the test's own."""
    name = new_name("results")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return name


@pytest.fixture(params=KINDS)
def results(request: pytest.FixtureRequest) -> Any:
    """Each implementation in turn, empty."""
    if request.param == "memory":
        return importlib.import_module(TWIN).MemoryResults()
    client, name = request.getfixturevalue("s3"), request.getfixturevalue("bucket")
    return S3Results(client, name, direct=direct_put(client, name) if request.param == "s3-direct" else None)


def direct_put(client: Any, bucket: str) -> DirectPut:
    """As composition makes it."""
    return DirectPut(client, bucket, Credentials(KEYS["aws_access_key_id"], KEYS["aws_secret_access_key"]))


@pytest.fixture
def in_s3(s3: Any, bucket: str) -> S3Results:
    """The ones in S3."""
    return S3Results(s3, bucket)


def batch_of(
    number: int = 0, round_: int = 0, outcomes: str = "ars", run_id: str = "r1", *, due_at: float = 5.5
) -> Batch:
    """A complete batch with one device for each letter: accepted, rejected, failed, held, or s for set aside."""
    batch = Batch(run_id, "spring", number, round_, Cursor(record=(number + 1) * 500))
    for n, letter in enumerate(outcomes):
        arm = "control" if letter == "h" else "ab"[n % 2]
        push = Push(batch, number * 500 + n, 0, f"u{n}-é", arm, Device(Platform.IOS, TOKEN), "apns")
        push.texts = RenderedTexts((arm, "de"), ("Hallo 🎉", "x"))
        push.locale, push.attempts, push.asked_at = "de-AT", n, 100.25
        batch.add(push)
        if round_ == 0:
            batch.account.users += 1
            batch.account.devices += 1
            batch.account.arm(arm).assigned += 1
    if round_:
        batch.account.deferred = -len(outcomes)
    for letter in outcomes:
        push = batch.waiting.popleft()
        if letter == "s":
            push.due_at = due_at
            push.maybe_repeat = True
            batch.defer(push)
        else:
            kind, reason = {
                "a": (Outcome.ACCEPTED, None),
                "r": (Outcome.REJECTED, "Unregistered"),
                "f": (Outcome.FAILED, "unanswered"),
                "h": (Outcome.HELD, "control"),
            }[letter]
            batch.record_outcome(push, kind, reason, AT, 410 if letter == "r" else None)
            if letter == "r":
                batch.record_dead_token(push, "Unregistered", 7)
    return batch


def copy(account: Account) -> Account:
    """The account as it is now."""
    return msgspec.json.decode(msgspec.json.encode(account), type=Account)


class TestSettling:
    """The rows object is the settlement: the first to put it has settled the batch."""

    @pytest.mark.parametrize("outcomes", ["a", "ahrf", "ssss", "ars", "", "h" * 500])
    def test_recovering(self, results: Any, outcomes: str) -> None:
        """What is found again is what was settled, to the last figure."""
        batch = batch_of(3, outcomes=outcomes)
        batch.account.invalid_records = 4
        batch.account.exclude("exclude", 2)
        batch.account.exclude("suppressed", 3)
        batch.account.possibly_repeated, batch.account.repeat_requests, batch.account.dry = 6, 9, 7
        settled = results.settle(batch, 2)
        assert (settled.number, settled.round, settled.ours) == (3, 0, True)
        assert settled.account == batch.account
        assert results.settled("r1", 3, 0).account == copy(batch.account)

    def test_what_can_be_a_repeat(self, results: Any) -> None:
        """Neither the control group nor a device that an earlier round counted."""
        batch = batch_of(3, 1, outcomes="aaahh")
        batch.repeated = 2
        results.settle(batch, 2)
        assert results.settled("r1", 3, 1).repeatable == 1

    def test_what_can_be_a_repeat_of_the_suppressed(self, results: Any) -> None:
        """Devices that were asked for before their users were suppressed are repeats, too, though not in the batch."""
        batch = batch_of(3, outcomes="aa")
        batch.passed_repeated = batch.account.possibly_repeated = 1
        batch.pass_over(4)
        settled = results.settle(batch, 2)
        found = results.settled("r1", 3, 0)
        assert (settled.repeatable, found.repeatable, found.passed) == (3, 3, 1)
        assert (settled.passed_over, found.passed_over, found.unasked) == (4, 4, 3)

    @pytest.mark.parametrize("round_", [0, 1])
    def test_how_many_it_defers(self, results: Any, round_: int) -> None:
        """Each round says how many devices wait for the next one."""
        results.settle(batch_of(3, round_, outcomes="ass"), 2)
        assert results.settled("r1", 3, round_).deferred == 2

    @pytest.mark.parametrize("round_", [0, 1, 12])
    def test_rounds_are_apart(self, results: Any, round_: int) -> None:
        """Each round of a batch is settled for itself."""
        for r in range(round_ + 1):
            results.settle(batch_of(0, r, "a" * (r + 1)), 1)
        assert results.settled("r1", 0, round_).account.arms["a"].accepted == round_ // 2 + 1
        assert results.settled("r1", 0, round_).account.deferred == (-(round_ + 1) if round_ else 0)

    def test_twice_by_the_same_claim(self, results: Any) -> None:
        """A claim that settles again, because it never heard of the first time, has settled it."""
        batch = batch_of()
        results.settle(batch, 2)
        again = results.settle(batch, 2)
        assert again.ours
        assert again.account == batch.account

    @pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
    def test_another_claim_was_first(self, results: Any, first: int, second: int) -> None:
        """The first to settle wins, be it the earlier claim or the later; the loser gets the winner's account."""
        winner, loser = batch_of(outcomes="aaaa"), batch_of(outcomes="arsf")
        results.settle(winner, first)
        settled = results.settle(loser, second)
        assert not settled.ours
        assert settled.account == winner.account
        assert results.settled("r1", 0, 0).account == copy(winner.account)

    def test_settled_from(self, results: Any) -> None:
        """Numbers of this run and round from a number on, whatever their order and size."""
        for number in (0, 7, 8, 9, 10, 1_000, 12_345_678):
            results.settle(batch_of(number, outcomes="a"), 1)
        results.settle(batch_of(9, 1, "a"), 1)
        results.settle(batch_of(11, 1, "a"), 1)
        results.settle(batch_of(8, outcomes="a", run_id="r2"), 1)
        results.settle(batch_of(77, outcomes="a", run_id="r11"), 1)
        assert results.settled_from("r1", 8, 0) == {8, 9, 10, 1_000, 12_345_678}
        assert results.settled_from("r1", 10, 1) == {11}
        assert results.settled_from("r1", 0, 2) == frozenset()
        assert results.settled_from("r9", 0, 0) == frozenset()


class TestSpans:
    """A lane of several lists what is its own."""

    SPANS = ((0, 8), (8, 100), (100, 12_345_679))

    def test_two_lanes_never_see_each_others(self, results: Any) -> None:
        """Rows and deferred devices by the numbers of their batches: each in one lane, and none in no lane."""
        numbers = (0, 7, 8, 9, 99, 100, 1_000, 12_345_678)
        for number in numbers:
            results.settle(batch_of(number, outcomes="as"), 1)
        results.settle(batch_of(9, 1, "a"), 2)
        settled = [results.settled_from("r1", first, 0, below) for first, below in self.SPANS]
        assert settled == [{0, 7}, {8, 9, 99}, {100, 1_000, 12_345_678}]
        found = [results.open_deferred("r1", within) for within in self.SPANS]
        assert [{(one.number, one.round) for one in lane.batches} for lane in found] == [
            {(0, 1), (7, 1)},
            {(8, 1), (99, 1)},
            {(100, 1), (1_000, 1), (12_345_678, 1)},
        ]
        assert [lane.settled for lane in found] == [frozenset(), frozenset({(9, 1)}), frozenset()]
        whole = results.open_deferred("r1")
        assert {one for lane in found for one in lane.batches} == set(whole.batches)

    def test_from_within_a_lane(self, results: Any) -> None:
        """A claim lists from its cursor on, to the end of its lane."""
        for number in range(6, 14):
            results.settle(batch_of(number, outcomes="a"), 1)
        assert results.settled_from("r1", 9, 0, 12) == {9, 10, 11}
        assert results.settled_from("r1", 12, 0, 12) == frozenset()

    def test_others_are_not_even_listed(self, in_s3: S3Results) -> None:
        """Of a run with thousands of objects a lane reads the names of its own, and the one that ends them."""
        for number in range(40):
            in_s3.settle(batch_of(number, outcomes="as"), 1)
        names: list[str] = []
        listed = in_s3._list

        def kept(prefix: str, after: str) -> Iterator[str]:
            for name in listed(prefix, after):
                names.append(name)
                yield name

        in_s3._list = kept  # type: ignore[method-assign]
        assert in_s3.settled_from("r1", 20, 0, 23) == {20, 21, 22}
        assert [name.rpartition("/")[2] for name in names] == [f"batch={n:08d}.json.gz" for n in range(20, 24)]


class TestDeferred:
    """Devices whose outcome is open, and whose deferral counts."""

    def test_read_back(self, results: Any) -> None:
        """A deferred device is found again with all that asking for it needs."""
        batch = batch_of(2, outcomes="asrs", due_at=123.5)
        results.settle(batch, 3)
        (found,) = results.open_deferred("r1").batches
        assert (found.number, found.round, found.epochs) == (2, 1, (3,))
        assert results.first_due("r1", found) == 123.5
        first, second = results.read_deferred("r1", found)
        assert (first.record, first.number, first.user_id, first.arm) == (1001, 0, "u1-é", "b")
        assert first.device == Device(Platform.IOS, TOKEN)
        assert first.words == RenderedTexts(("b", "de"), ("Hallo 🎉", "x"))
        assert (first.attempts, first.asked_at, first.due_at, first.locale) == (1, 100.25, 123.5, "de-AT")
        assert first.maybe_repeat
        assert second.record == 1003
        assert TOKEN not in repr(first)

    def test_the_round_to_be_asked_next(self, results: Any) -> None:
        """Of each batch the first round that is not settled, whatever round the others have come to."""
        for number in (4, 2, 10, 3):
            results.settle(batch_of(number, outcomes="as"), 1)
        results.settle(batch_of(3, 1, "s"), 2)
        results.settle(batch_of(4, 1, "a"), 2)
        found = results.open_deferred("r1")
        assert {(one.number, one.round) for one in found.batches} == {(2, 1), (3, 2), (10, 1)}
        assert found.settled == {(3, 1), (4, 1)}
        assert results.open_deferred("r2").batches == ()

    def test_when_the_first_is_due(self, results: Any) -> None:
        """Devices that wait for the end of the reading have no time of their own."""
        batch = batch_of(0, outcomes="ss", due_at=50.0)
        batch.deferred[0].due_at = 70.0
        results.settle(batch, 1)
        at_end = batch_of(1, outcomes="as", due_at=0.0)
        results.settle(at_end, 1)
        first, second = results.open_deferred("r1").batches
        assert results.first_due("r1", first) == 50.0
        assert results.first_due("r1", second) == math.inf

    def test_a_loser_s_never_count(self, results: Any) -> None:
        """What a claim deferred that did not settle the batch is not asked for: the winner's rows say all."""
        results.settle(batch_of(0, outcomes="aaa"), 2)
        results.settle(batch_of(0, outcomes="ass"), 1)
        results.settle(batch_of(1, outcomes="ssa"), 2)
        results.settle(batch_of(1, outcomes="sss"), 1)
        found = {one.number: results.read_deferred("r1", one) for one in results.open_deferred("r1").batches}
        assert {number: len(items) for number, items in found.items()} == {0: 0, 1: 2}

    def test_control_is_never_deferred(self, in_s3: S3Results) -> None:
        """A user without a message cannot wait for it."""
        batch = batch_of(outcomes="hs")
        batch.deferred[0].arm = "control"
        with pytest.raises(ValueError, match="control"):
            in_s3.settle(batch, 1)


class TestState:
    """What every hop of a run needs."""

    def test_the_first_writer_wins(self, results: Any) -> None:
        """Two claims may open a run at once: both go on with what the first one stored."""
        assert results.get_state("r1", "campaign") is None
        results.put_state("r1", "campaign", {"n": 1})
        results.put_state("r1", "campaign", {"n": 2})
        assert json.loads(results.get_state("r1", "campaign")) == {"n": 1}
        assert results.get_state("r2", "campaign") is None


class TestLostAnswers:
    """S3 did it and its answer was lost: botocore asks again, and the refusal is of our own success."""

    def test_settling(self, in_s3: S3Results, s3: Any) -> None:
        """The batch is settled, by us."""
        batch = batch_of(outcomes="ah")
        with lost_answer(s3, "s3.PutObject") as lost:
            settled = in_s3.settle(batch, 1)
        assert (lost(), settled.ours) == (1, True)
        assert settled.account == batch.account

    def test_storing(self, in_s3: S3Results, s3: Any) -> None:
        """The state is stored."""
        with lost_answer(s3, "s3.PutObject") as lost:
            in_s3.put_state("r1", "campaign", {"n": 1})
        assert (lost(), in_s3.get_state("r1", "campaign")) == (1, b'{"n":1}')


class TestDirectPut:
    """Rows are put by one request of our own. What that does not put, the client puts."""

    @pytest.fixture
    def puts(self, s3: Any, bucket: str) -> Iterator[list[str]]:
        """The keys that the client itself put."""
        keys: list[str] = []

        def note(params: dict[str, Any], **_: Any) -> None:
            keys.append(params["url_path"])

        s3.meta.events.register("before-call.s3.PutObject", note)
        yield keys
        s3.meta.events.unregister("before-call.s3.PutObject", note)

    def test_the_object_is_the_same(self, s3: Any, bucket: str, puts: list[str]) -> None:
        """Body and metadata are those that the client writes, under a key whose characters are escaped in the URL."""
        key = "rows/run_id=r1/ü +~%.json.gz"
        assert direct_put(s3, bucket).put(key, b"rows", {"epoch": "1", "account": '{"u":1}'}, only_new=True)
        found = s3.get_object(Bucket=bucket, Key=key)
        assert (found["Body"].read(), found["Metadata"]) == (b"rows", {"epoch": "1", "account": '{"u":1}'})
        assert puts == []

    def test_only_new(self, s3: Any, bucket: str) -> None:
        """An object that is there stays, and such answers do not end this way of putting."""
        put = direct_put(s3, bucket)
        assert put.put("rows/a", b"first", {}, only_new=True)
        assert [put.put("rows/a", b"second", {}, only_new=True) for _ in range(2 * MOST_FAILURES)].count(True) == 0
        assert s3.get_object(Bucket=bucket, Key="rows/a")["Body"].read() == b"first"
        assert put.put("rows/a", b"third", {}, only_new=False)

    def test_the_request_is_signed(self, s3: Any, bucket: str) -> None:
        """By version 4, over the body's hash and every header that we set."""
        credentials = Credentials("AKID", "secret", "session")
        request = DirectPut(s3, bucket, credentials)._signed("rows/a", b"rows", {"epoch": "1"}, only_new=True)
        wanted = r"Credential=AKID/\d{8}/eu-west-1/s3/aws4_request, SignedHeaders=([^,]+)"
        named = re.search(wanted, str(request.headers["Authorization"]))
        assert named is not None
        signed = set(named[1].split(";"))
        assert signed >= {"host", "if-none-match", "x-amz-content-sha256", "x-amz-meta-epoch", "x-amz-security-token"}
        assert request.headers["User-Agent"] == s3.meta.config.user_agent
        assert request.headers["X-Amz-Content-SHA256"] == sha256(b"rows").hexdigest()

    def test_the_client_puts_what_is_not_put(self, s3: Any, bucket: str, puts: list[str]) -> None:
        """No answer, or a refusal: the client asks. After three in a row it alone is asked."""
        nowhere = DirectPut(s3, "no-such-bucket", Credentials("k", "s"))
        results = S3Results(s3, bucket, direct=nowhere)
        for number in range(MOST_FAILURES + 1):
            assert results.settle(batch_of(number, outcomes="a"), 1).ours
        assert len(puts) == MOST_FAILURES + 1
        assert not nowhere.put("rows/a", b"", {}, only_new=False)

    def test_an_answer_that_was_lost(self, s3: Any, bucket: str, puts: list[str]) -> None:
        """The rows are there, and the client's conditional request is refused: the batch is settled, by us."""

        class Lossy(DirectPut):
            """S3 does it, and nobody hears of it."""

            def put(self, *arguments: Any, **named: Any) -> bool:
                super().put(*arguments, **named)
                return False

        lossy = Lossy(s3, bucket, Credentials(KEYS["aws_access_key_id"], KEYS["aws_secret_access_key"]))
        batch = batch_of(outcomes="ah")
        settled = S3Results(s3, bucket, direct=lossy).settle(batch, 1)
        assert (settled.ours, settled.account, len(puts)) == (True, batch.account, 1)


class TestConflicts:
    """S3 says 409: another request for the key was under way. It does not say that the object is there."""

    def test_it_is_put_again(self, s3: Any, bucket: str) -> None:
        """The state and the rows are written by us, and nothing waits after the last attempt."""
        rests: list[float] = []
        results = S3Results(s3, bucket, rests.append)
        with in_conflict(s3, 2):
            results.put_state("r1", "campaign", {"n": 1})
        with in_conflict(s3, 3):
            settled = results.settle(batch_of(outcomes="ah"), 1)
        assert json.loads(results.get_state("r1", "campaign") or b"") == {"n": 1}
        assert (settled.ours, len(rests)) == (True, 5)

    def test_a_conflict_that_does_not_pass(self, s3: Any, bucket: str) -> None:
        """It is an error, and not a batch that another claim settled."""
        results = S3Results(s3, bucket, lambda _: None)
        with in_conflict(s3, 99), pytest.raises(ClientError, match="ConditionalRequestConflict"):
            results.put_state("r1", "campaign", {"n": 1})
        with in_conflict(s3, 99), pytest.raises(ClientError, match="ConditionalRequestConflict"):
            results.settle(batch_of(outcomes="ah"), 1)
        assert keys_in(s3, bucket) == []


class TestRefused:
    """A lasting refusal by S3 is another error than a passing one, for every call."""

    @pytest.mark.parametrize(
        ("status", "code", "says"),
        [
            (403, "AccessDenied", "KmsKeyArns"),
            (403, "AllAccessDisabled", "bucket's policy"),
            (404, "NoSuchBucket", "deploy the stack again"),
            (400, "KMS.DisabledException", "enable the KMS key"),
            (400, "KMS.NotFoundException", "enable the KMS key"),
        ],
    )
    def test_for_good(self, s3: Any, bucket: str, status: int, code: str, says: str) -> None:
        """The code, the place and what has to be changed."""
        results = S3Results(s3, bucket, lambda _: None)
        place = f"s3://{bucket}/rows/run_id=r1/"
        with answering(s3, status, code), pytest.raises(StoreRefused) as caught:
            results.settle(batch_of(outcomes="ah"), 1)
        assert str(caught.value).startswith(f"{code} by S3 for PutObject under {place}: ")
        assert says in str(caught.value)
        with answering(s3, status, code), pytest.raises(StoreRefused):
            results.prove_writable("r1")

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (400, "RequestTimeout"),
            (400, "ExpiredToken"),
            (400, "KMS.ThrottlingException"),
            (403, "RequestTimeTooSkewed"),
            (409, "OperationAborted"),
            (500, "InternalError"),
            (503, "SlowDown"),
        ],
    )
    def test_for_a_while(self, s3: Any, bucket: str, status: int, code: str) -> None:
        """Another try may help: S3's own error is left as it is."""
        with answering(s3, status, code), pytest.raises(ClientError, match=code):
            S3Results(s3, bucket, lambda _: None).settle(batch_of(outcomes="ah"), 1)

    def test_reading(self, in_s3: S3Results, s3: Any) -> None:
        """Listing and reading say which permission is missing; HEAD's answers have no code but the status."""
        in_s3.settle(batch_of(outcomes="as"), 1)
        [found] = in_s3.open_deferred("r1").batches
        reads: dict[str, Callable[[], object]] = {
            "ListBucket": lambda: in_s3.settled_from("r1", 0, 0),
            "GetObject": lambda: in_s3.settled("r1", 0, 0),
            "GetObject under .*/deferred": lambda: in_s3.read_deferred("r1", found),
            "GetObject under .*/state": lambda: in_s3.get_state("r1", "campaign"),
        }
        for operation, read in reads.items():
            with answering(s3, 403, "AccessDenied", "GET"), pytest.raises(StoreRefused, match=operation):
                read()
        with answering(s3, 403, "", "HEAD"), pytest.raises(StoreRefused, match=r"^AccessDenied by S3 for HeadObject"):
            in_s3.read_deferred("r1", found)


class TestProbe:
    """Empty objects that prove that a batch could be settled, and that no reader takes for one."""

    def test_where(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """One in each folder that settling writes; again, they are the same."""
        in_s3.prove_writable("r1")
        in_s3.prove_writable("r1")
        assert keys_in(s3, bucket) == [
            "dead-tokens/run_id=r1/_probe",
            "deferred/run_id=r1/_probe",
            "excluded/run_id=r1/_probe",
            "invalid/run_id=r1/_probe",
            "rows/run_id=r1/_probe",
        ]
        assert s3.head_object(Bucket=bucket, Key="rows/run_id=r1/_probe")["ContentLength"] == 0

    def test_no_reader_sees_them(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """Settled and deferred batches, the report's rows, counted lines."""
        in_s3.prove_writable("r1")
        in_s3.settle(batch_of(outcomes="aars"), 1)
        assert in_s3.settled_from("r1", 0, 0) == {0}
        assert len(in_s3.open_deferred("r1").batches) == 1
        figures = read_rows(s3, bucket, "r1")
        assert (figures.rows, figures.objects) == (3, 1)
        assert count_dead_tokens(s3, bucket, "r1", figures.epochs) == (1, 1)


class TestDeadTokens:
    """The report counts each dead token once, however many claims have listed it."""

    def killed_before_its_rows(self, in_s3: S3Results, batch: Batch, epoch: int) -> None:
        """A claim that dies between its dead tokens and its rows."""
        put = in_s3._put

        def killed(key: str, *args: Any, **members: Any) -> None:
            if key.startswith("rows/"):
                raise KeyboardInterrupt
            put(key, *args, **members)

        in_s3._put = killed  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            in_s3.settle(batch, epoch)
        in_s3._put = put  # type: ignore[method-assign]

    def test_those_of_the_claim_that_settled_the_batch(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """Of two objects of one batch that of the rows counts; of another batch or round its own."""
        self.killed_before_its_rows(in_s3, batch_of(0, outcomes="rrr"), 9)
        in_s3.settle(batch_of(0, outcomes="arr"), 10)
        self.killed_before_its_rows(in_s3, batch_of(0, outcomes="rrr"), 11)
        in_s3.settle(batch_of(0, 1, outcomes="r"), 11)
        in_s3.settle(batch_of(1, outcomes="ar"), 9)
        rows = read_rows(s3, bucket, "r1")
        rejected = sum(count for (_, outcome, _), count in rows.outcomes.items() if outcome == "rejected")
        assert rows.epochs == {"batch=00000000": 10, "batch=00000000.r1": 11, "batch=00000001": 9}
        assert count_dead_tokens(s3, bucket, "r1", rows.epochs) == (rejected, 5) == (4, 5)

    def test_without_rows_those_of_the_last_claim(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """By number: epoch 10 is after 9. What has another name counts for itself."""
        self.killed_before_its_rows(in_s3, batch_of(0, outcomes="rrr"), 9)
        self.killed_before_its_rows(in_s3, batch_of(0, outcomes="arr"), 10)
        s3.put_object(Bucket=bucket, Key="dead-tokens/run_id=r1/mine.json.gz", Body=gzip.compress(b"{}\n"))
        assert count_dead_tokens(s3, bucket, "r1", {}) == (3, 3)


@contextmanager
def answering(s3: Any, status: int, code: str, method: str = "PUT") -> Iterator[None]:
    """Every request with this method is answered so, and not done."""

    def refuse(request: Any, **_: Any) -> AWSResponse | None:
        if request.method != method:
            return None
        body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
        headers: Any = {"Content-Type": "application/xml"}
        return AWSResponse(request.url, status, headers, Raw(body))

    s3.meta.events.register("before-send.s3", refuse)
    try:
        yield
    finally:
        s3.meta.events.unregister("before-send.s3", refuse)


@contextmanager
def in_conflict(s3: Any, times: int) -> Iterator[None]:
    """The next so many conditional PUTs are answered by 409, and not done."""
    left = [times]

    def refuse(request: Any, **_: Any) -> AWSResponse | None:
        if request.method != "PUT" or "If-None-Match" not in request.headers or not left[0]:
            return None
        left[0] -= 1
        body = b"<Error><Code>ConditionalRequestConflict</Code></Error>"
        headers: Any = {"Content-Type": "application/xml"}
        return AWSResponse(request.url, 409, headers, Raw(body))

    s3.meta.events.register("before-send.s3", refuse)
    try:
        yield
    finally:
        s3.meta.events.unregister("before-send.s3", refuse)


class Raw(io.BytesIO):
    """A body, as botocore reads it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        """All of it."""
        yield self.read()


def keys_in(s3: Any, bucket: str) -> list[str]:
    """Every key of a bucket."""
    return [thing["Key"] for thing in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


class TestBucket:
    """The objects in the bucket, as others read them."""

    def test_objects(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """A batch leaves what it has something to say in, under the documented keys; tokens in two of them only."""
        batch = batch_of(123, outcomes="arsh")
        batch.exclude(61_504, "u4-é", "suppressed")
        in_s3.settle(batch, 7)
        in_s3.settle(batch_of(124, 1, "a"), 7)
        assert keys_in(s3, bucket) == [
            "dead-tokens/run_id=r1/batch=00000123.e7.json.gz",
            "deferred/run_id=r1/batch=00000123.r1.e7.json.gz",
            "excluded/run_id=r1/batch=00000123.e7.json.gz",
            "rows/run_id=r1/batch=00000123.json.gz",
            "rows/run_id=r1/batch=00000124.r1.json.gz",
        ]
        bodies = {
            key: gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys_in(s3, bucket)
        }
        assert [key.split("/")[0] for key, body in bodies.items() if TOKEN.encode() in body] == [
            "dead-tokens",
            "deferred",
        ]
        [left_out] = map(json.loads, bodies["excluded/run_id=r1/batch=00000123.e7.json.gz"].splitlines())
        assert left_out == {"run_id": "r1", "record": 61_504, "user_id": "u4-é", "reason": "suppressed"}
        rows = [json.loads(line) for line in bodies["rows/run_id=r1/batch=00000123.json.gz"].splitlines()]
        assert rows[1] == {
            "run_id": "r1",
            "campaign_id": "spring",
            "record": 61501,
            "device": 0,
            "user_id": "u1-é",
            "arm": "b",
            "platform": "ios",
            "gateway": "apns",
            "outcome": "rejected",
            "reason": "Unregistered",
            "status": 410,
            "apns_id": None,
            "message_id": None,
            "attempts": 1,
            "locale": "de-AT",
            "at": AT,
        }

    def test_the_text_of_the_metadata(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """Public: counts beside `pushes` are there only above 0, so that rows without them are as they always were."""
        batch = batch_of(3, outcomes="aa")
        batch.passed_repeated = batch.account.possibly_repeated = 2
        batch.pass_over(3)
        in_s3.settle(batch, 7)
        in_s3.settle(batch_of(4, outcomes="aa"), 7)
        passed, none = (
            s3.head_object(Bucket=bucket, Key=f"rows/run_id=r1/batch=0000000{number}.json.gz")["Metadata"]
            for number in (3, 4)
        )
        assert {name: text for name, text in passed.items() if name != "account"} == {
            "epoch": "7", "pushes": "2", "passed": "2", "passed-over": "3",
        }  # fmt: skip
        assert none.keys() == {"epoch", "account", "pushes"}
        # As a release wrote it that knew no such devices.
        assert (in_s3.settled("r1", 4, 0).passed, in_s3.settled("r1", 4, 0).passed_over) == (0, 0)

    def test_the_same_bytes(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """The same batch is the same object, whichever claim writes it."""
        in_s3.settle(batch_of(0, outcomes="ah"), 1)
        in_s3.settle(batch_of(0, outcomes="ah", run_id="r1"), 1)
        in_s3.settle(batch_of(0, 1, "ah"), 1)
        first, second = (
            s3.get_object(Bucket=bucket, Key=f"rows/run_id=r1/batch=00000000{name}.json.gz")["Body"].read()
            for name in ("", ".r1")
        )
        assert first == second

    def test_odd_neighbours(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """Objects that others put among the rows are passed over."""
        in_s3.settle(batch_of(5, outcomes="as"), 1)
        for key in (
            "rows/run_id=r1/",
            "rows/run_id=r1/_SUCCESS",
            "rows/run_id=r1/batch=00000006.json.gz.tmp",
            "rows/run_id=r1/batch=6.json.gz",
            "rows/run_id=r1/batch=00000006.parquet",
            "rows/run_id=r1/batch=00000006 (1).json.gz",
            "rows/run_id=r1/copy-of-batch=00000006.json.gz",
            "rows/run_id=r1/old/batch=00000006.json.gz",
            "deferred/run_id=r1/batch=00000006.r1.json.gz",
            "deferred/run_id=r1/notes",
        ):
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
        assert in_s3.settled_from("r1", 0, 0) == {5}
        assert [found.number for found in in_s3.open_deferred("r1").batches] == [5]

    def test_many_pages(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """A listing longer than one page is read to its end."""
        for n in range(7):
            s3.put_object(Bucket=bucket, Key=f"rows/run_id=r1/batch={n:08d}.json.gz", Body=b"")

        def shorten(params: dict[str, Any], **_: Any) -> None:
            params["MaxKeys"] = 2

        s3.meta.events.register("before-parameter-build.s3.ListObjectsV2", shorten)
        try:
            assert in_s3.settled_from("r1", 1, 0) == {1, 2, 3, 4, 5, 6}
        finally:
            s3.meta.events.unregister("before-parameter-build.s3.ListObjectsV2", shorten)

    def test_summary(self, in_s3: S3Results, s3: Any, bucket: str) -> None:
        """The summary can be written again, and says the same in the same bytes."""
        key = in_s3.put_summary("r1", {"users": 1})
        assert key == "summaries/run_id=r1/summary.json"
        first = s3.get_object(Bucket=bucket, Key=key)["ETag"]
        in_s3.put_summary("r1", {"users": 1})
        assert s3.get_object(Bucket=bucket, Key=key)["ETag"] == first

    def test_other_errors_are_not_swallowed(self, s3: Any) -> None:
        """A missing bucket is reported, not taken for a lost race."""
        missing = S3Results(s3, "no-such-bucket")
        place = "s3://no-such-bucket/rows/run_id=r1/"
        with pytest.raises(StoreRefused, match=f"^NoSuchBucket by S3 for PutObject under {place}"):
            missing.settle(batch_of(outcomes="a"), 1)
        with pytest.raises(StoreRefused, match="NoSuchBucket"):
            missing.put_state("r1", "campaign", {})
