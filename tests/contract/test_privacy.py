"""Privacy officers find, export and erase a person: who alone may, what is written down first, and how it ends."""

import io
import json
import re
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest

from approval.officers import NoOfficers, Officers
from approval.people import Person, may_sign_in, person
from approval.request import Forbidden, Refused
from notifier.dynamodb import item_of
from notifier.model.outcome import Row
from notifier.model.preparation import Stage
from notifier.model.run import Run
from notifier.preparation_items import COUNT, asked_for, preparation_key
from notifier.sending.carrier import DRY_RUN
from notifier.stores.ledger import DynamoLedger
from privacy import app, service
from privacy.erase import Erased, seconds_for
from privacy.jobs import PREFIX, Jobs, JobState
from privacy.places import OUT_OF_REACH, OUT_OF_REACH_WORDS
from privacy.service import PrivacyService, cost_in_words, found_in_words
from privacy.service import Refused as NotDone
from privacy.stack import Stack, read_versions
from privacy.versions import Version
from privacy.waiting import KEY as WAITING
from privacy.waiting import note_waiting, waited_for
from reporting.person import Found, LeftOut, Plan, RunPlan
from reporting.proof.audit import audit
from reporting.trail import PREFIX as TRAIL
from sandbox.local_lambda.schedule import scheduled_event
from tests.contract.moto_stores import client_of, make_table, moto_server, new_name
from tests.contract.test_audit import CAMPAIGN, PEOPLE
from tests.contract.test_erase import left
from tests.made_run import MadeRun, make_run

OLIVE = "olive@example.com"
WHO = "user-1-000000123"
OFFICER = Person(OLIVE, is_officer=True)
LONG_MS = 900_000


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server for S3 and DynamoDB."""
    with moto_server() as url:
        yield url


class Function:
    """The officers' function behind a Lambda client: asynchronous work is done when the test says so."""

    def __init__(self, stack: Stack, jobs: Jobs, officers: tuple[str, ...]) -> None:
        self.now_ms = int(time.time() * 1000)
        self.remaining_ms = LONG_MS
        self.waiting: list[dict[str, Any]] = []
        self.service = PrivacyService(stack, jobs, officers, self.waiting.append, self._tick, LONG_MS)

    def _tick(self) -> int:
        self.now_ms += 1
        return self.now_ms

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        """As the handler answers."""
        assert (FunctionName, InvocationType) == ("privacy", "RequestResponse")
        try:
            answer = self.service.carry_out(json.loads(Payload))
        except NotDone as refused:
            answer = {"refused": str(refused)}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    def work(self) -> None:
        """Do what was begun. It goes as JSON."""
        while self.waiting:
            self.service.work(json.loads(json.dumps(self.waiting.pop(0))), lambda: self.remaining_ms)


class Office(NamedTuple):
    """A stack with one run over some people, and the pages' way to the function."""

    stack: Stack
    function: Function
    officers: Officers
    run: MadeRun

    def keys(self, prefix: str) -> list[str]:
        """The keys under a prefix."""
        listed = self.stack.s3.list_objects_v2(Bucket=self.stack.bucket, Prefix=prefix)
        return [one["Key"] for one in listed.get("Contents", ())]

    def body(self, key: str) -> bytes:
        """One object."""
        found: bytes = self.stack.s3.get_object(Bucket=self.stack.bucket, Key=key)["Body"].read()
        return found

    def trail(self) -> list[tuple[str, str]]:
        """Who did what, in order. No entry has an id."""
        entries = [self.body(key) for key in self.keys(TRAIL)]
        assert not any(WHO.encode() in entry for entry in entries)
        return [(one["by"], one["what"]) for one in map(json.loads, entries)]

    def done(self, job: str) -> Any:
        """A job after its work."""
        self.function.work()
        return self.officers.job(OFFICER, job)


@pytest.fixture
def office(endpoint: str) -> Office:
    """A stack of its own for each test: they erase."""
    return made(endpoint)


@pytest.fixture(scope="module")
def idle(endpoint: str) -> Office:
    """One for tests that change nothing."""
    return made(endpoint)


def made(endpoint: str) -> Office:
    """A stack with one run."""
    s3, dynamodb = client_of("s3", endpoint), client_of("dynamodb", endpoint)
    bucket, table, approval = (new_name("privacy") for _ in range(3))
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for name in (table, approval):
        make_table(dynamodb, name)
    stack = Stack(s3, dynamodb, bucket, table, "suppression/", approval)
    function = Function(stack, Jobs(dynamodb, approval, s3, bucket), (OLIVE,))
    run = make_run(s3, bucket, CAMPAIGN, (PEOPLE[:300],), time.time())
    return Office(stack, function, Officers(function, "privacy"), run)


def test_an_officer_finds_and_exports_a_person(office: Office) -> None:
    """The look-up is in the trail before anything is read; what was found is there for its officer, and as JSON."""
    assert "of 1 campaign, " in office.officers.cost(OFFICER, WHO)
    assert office.trail() == []
    id_ = office.officers.find(OFFICER, WHO)
    assert office.trail() == [(OLIVE, "find")]
    running, nothing = office.officers.job(OFFICER, id_)
    assert (running.is_running, nothing) == (True, None)
    job, found = office.done(id_)
    assert (job.state, job.words) == ("done", "In 1 campaign: 1 push accepted by Apple or Google.")
    assert found.user_id == WHO
    assert [(row.campaign_id, row.run_id) for row in found.rows] == [("audited", office.run.run_id)]
    exported = json.loads(office.officers.export(OFFICER, id_))
    assert (exported["user_id"], len(exported["rows"])) == (WHO, 1)
    assert office.trail() == [(OLIVE, "find"), (OLIVE, "export")]
    assert [one.what for one in office.officers.trail(OFFICER, time.strftime("%Y-%m", time.gmtime()))] == [
        "export",
        "find",
    ]


def test_whoever_is_in_no_run_is_not_found(office: Office) -> None:
    """It says so, and the look-up is in the trail like any other."""
    job, found = office.done(office.officers.find(OFFICER, "nobody"))
    assert (job.state, job.words, found.rows) == (
        "done",
        "Nothing was sent to this user id, or what was is not kept any more.",
        (),
    )
    assert office.trail() == [(OLIVE, "find")]


def test_nobody_but_officers(office: Office) -> None:
    """Neither requesters nor approvers, nor another officer of what one looked up: pages and function both refuse."""
    ann = person("ann@example.com", ("@example.com",), ("@example.com",), (OLIVE, "@example.com"))
    assert (ann.is_requester, ann.is_approver, ann.is_officer) == (True, True, False)
    with pytest.raises(Forbidden):
        office.officers.cost(ann, WHO)
    with pytest.raises(Forbidden):
        office.officers.find(ann, WHO)
    with pytest.raises(Forbidden):
        office.officers.erase(ann, [WHO])
    with pytest.raises(Forbidden):
        office.officers.trail(ann, "2026-11")
    # A page that takes another person for an officer.
    taken = msgspec.structs.replace(ann, is_officer=True)
    with pytest.raises(Refused, match="Only privacy officers may do this"):
        office.officers.find(taken, WHO)
    with pytest.raises(Refused, match="Only privacy officers may do this"):
        office.officers.erase(taken, [WHO])
    assert office.trail() == []
    assert office.keys("suppression/") == []
    assert office.function.waiting == []
    id_ = office.officers.find(OFFICER, WHO)
    office.done(id_)
    other = Function(office.stack, office.function.service._jobs, (OLIVE, "omar@example.com"))
    with pytest.raises(Refused, match="another officer's"):
        Officers(other, "privacy").job(Person("omar@example.com", is_officer=True), id_)


def test_officers_are_named_one_by_one() -> None:
    """A domain in the list lets nobody in; an officer without another role is known here, and may sign in."""
    assert not person("ann@example.com", (), (), ("@example.com", "example.com")).is_known
    assert person(OLIVE, (), (), (OLIVE,)) == OFFICER
    assert OFFICER.is_known
    assert may_sign_in(OLIVE, (OLIVE,))


def test_a_stack_without_officers(office: Office) -> None:
    """There is no function to ask."""
    none = Officers(office.function, "")
    assert not none.are_there
    with pytest.raises(NoOfficers):
        none.find(OFFICER, WHO)


def test_an_officer_erases_a_person(office: Office) -> None:
    """They are suppressed and in the trail at once; then nobody is left, answers about them too; the run is proved."""
    office.done(office.officers.find(OFFICER, WHO))
    assert len(office.keys(PREFIX)) == 1
    other = office.officers.find(OFFICER, "user-1-000000007")
    office.function.work()
    id_ = office.officers.erase(OFFICER, [WHO, WHO])
    assert len(office.keys("suppression/_erased/")) == 2
    assert office.trail() == [(OLIVE, "find"), (OLIVE, "find"), (OLIVE, "erase")]
    assert left(office.stack, {WHO})
    job, found = office.done(id_)
    assert (job.state, found) == ("done", None), job
    assert "Nothing of them is left here." in job.words
    assert not left(office.stack, {WHO})
    # The answer about another user stays.
    assert office.keys(PREFIX) == [f"{PREFIX}{other}.json"]
    assert audit(office.stack.s3, office.stack.bucket, office.run.run_id).in_words == "proved, 1 erased"


def test_what_waits_for_a_run_is_erased_at_its_end(office: Office) -> None:
    """Files of a run under way are left to it; its end is heard of, and nobody has to remember."""
    run, stack = office.run, office.stack
    DynamoLedger(stack.dynamodb, stack.table, time.time).open_run(Run(run.run_id, run.source, 1))
    key = f"summaries/run_id={run.run_id}/summary.json"
    summary = office.body(key)
    stack.s3.delete_object(Bucket=stack.bucket, Key=key)
    job, _ = office.done(office.officers.erase(OFFICER, [WHO]))
    assert (job.state, "waits for 1 campaign under way" in job.words) == ("unfinished", True), job
    assert left(stack, {WHO})

    def ended(run_id: str) -> Any:
        return office.function.service.run_ended(run_id, lambda: LONG_MS)

    assert ended("0" * 20) is None
    stack.s3.put_object(Bucket=stack.bucket, Key=key, Body=summary)
    assert ended(run.run_id).state == "done"
    assert not left(stack, {WHO})
    assert ended(run.run_id) is None


def test_what_waits_for_no_run_is_erased_within_a_day(
    office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody says when a count is over: the function looks every seven hours, and does nothing where nothing waits."""
    stack, run = office.stack, office.run
    monkeypatch.setattr(app, "_service", lambda: office.function.service)
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: LONG_MS)

    def day_ended() -> Any:
        return app.handler(json.loads(scheduled_event("arn", "1", "eu-west-1")), context)

    assert day_ended() == {"erased": False}
    count = f"{COUNT}{run.run_id}"
    item = item_of(asked_for(count, "{}", stack.bucket, 1, Stage.CAPS))
    stack.dynamodb.put_item(TableName=stack.table, Item=item)
    job, _ = office.done(office.officers.erase(OFFICER, [WHO]))
    waits = "The rest waits for 1 audience being prepared, counted or decided on, and is erased by itself within a day"
    assert (job.state, waits in job.words) == ("unfinished", True), job
    assert day_ended() == {"erased": False, "state": "unfinished"}
    assert json.loads(capsys.readouterr().out)["level"] == "INFO"
    stack.dynamodb.delete_item(TableName=stack.table, Key=preparation_key(count))
    assert day_ended() == {"erased": True, "state": "done"}
    assert json.loads(capsys.readouterr().out)["message"] == "privacy_day_ended"
    assert not left(stack, {WHO})
    assert waited_for(stack.s3, stack.bucket) == frozenset()
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == "proved, 1 erased"
    assert day_ended() == {"erased": False}


def opened(office: Office) -> tuple[str, bytes]:
    """The run is under way again. Returns its summary's key and body, with which it ends."""
    run, stack = office.run, office.stack
    DynamoLedger(stack.dynamodb, stack.table, time.time).open_run(Run(run.run_id, run.source, 1))
    key = f"summaries/run_id={run.run_id}/summary.json"
    summary = office.body(key)
    stack.s3.delete_object(Bucket=stack.bucket, Key=key)
    return key, summary


def test_a_run_that_ends_during_an_erasure(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end was heard before anything waited for it. The erasure sees that it has ended, and erases from it, too."""
    stack = office.stack
    summary_key, summary = opened(office)
    real = stack.s3.put_object

    def meanwhile(**given: Any) -> Any:
        if given["Key"] == WAITING:
            monkeypatch.undo()
            stack.s3.put_object(Bucket=stack.bucket, Key=summary_key, Body=summary)
            assert office.function.service.run_ended(office.run.run_id, lambda: LONG_MS) is None
        return real(**given)

    monkeypatch.setattr(stack.s3, "put_object", meanwhile)
    job, _ = office.done(office.officers.erase(OFFICER, [WHO]))
    assert job.state == "done", job
    assert not left(stack, {WHO})
    assert waited_for(stack.s3, stack.bucket) == frozenset()
    assert audit(stack.s3, stack.bucket, office.run.run_id).in_words == "proved, 1 erased"


def test_erasures_at_once_keep_each_others_runs(idle: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one writes down while another does stays; a run leaves the list with an erasure that began after its end."""
    s3, bucket = idle.stack.s3, idle.stack.bucket
    real = s3.put_object

    def meanwhile(**given: Any) -> Any:
        monkeypatch.undo()
        note_waiting(s3, bucket, ["b"])
        return real(**given)

    for first in (["a"], ["c"]):
        monkeypatch.setattr(s3, "put_object", meanwhile)
        note_waiting(s3, bucket, first)
        assert waited_for(s3, bucket) >= {"b", *first}
        s3.delete_object(Bucket=bucket, Key=WAITING)
    note_waiting(s3, bucket, ["a", "b"])
    note_waiting(s3, bucket, ["c"], over=["a", "x"])
    assert waited_for(s3, bucket) == {"b", "c"}
    note_waiting(s3, bucket, [], over=["b", "c"])
    assert waited_for(s3, bucket) == frozenset()
    s3.delete_object(Bucket=bucket, Key=WAITING)


def end_of(office: Office, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the handler answers to the end of the run."""
    monkeypatch.setattr(app, "_service", lambda: office.function.service)
    event = {"detail-type": "Notifier Run Ended", "detail": {"run_id": office.run.run_id}}
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: office.function.remaining_ms)
    return app.handler(event, context)


def test_an_erasure_at_a_runs_end_that_is_not_done_is_heard(
    office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its words are in the log as an error, and the invocation fails, for which there is an alarm; without ids."""
    key, summary = opened(office)
    office.done(office.officers.erase(OFFICER, [WHO]))
    office.stack.s3.put_object(Bucket=office.stack.bucket, Key=key, Body=summary)
    office.function.remaining_ms = 2_100
    with pytest.raises(app.Unfinished, match="notifier erase --again"):
        end_of(office, monkeypatch)
    line = json.loads(capsys.readouterr().out)
    assert (line["level"], line["message"], line["state"]) == ("ERROR", "privacy_run_ended", "unfinished")
    assert WHO not in str(line)
    # Lambda's second attempt: with enough time it comes to its end.
    office.function.remaining_ms = LONG_MS
    assert end_of(office, monkeypatch) == {"erased": True, "state": "done"}
    assert json.loads(capsys.readouterr().out)["level"] == "INFO"
    assert not left(office.stack, {WHO})
    assert end_of(office, monkeypatch) == {"erased": False}


def test_an_end_beside_another_run_is_no_error(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for one more run comes to its end by itself."""
    key, summary = opened(office)
    office.done(office.officers.erase(OFFICER, [WHO]))
    office.stack.s3.put_object(Bucket=office.stack.bucket, Key=key, Body=summary)
    # Another run is being prepared: any file may be its audience.
    source = msgspec.structs.replace(office.run.source, key="batches/other.json")
    DynamoLedger(office.stack.dynamodb, office.stack.table, time.time).open_run(Run("f" * 20, source, 1))
    office.stack.s3.put_object(
        Bucket=office.stack.bucket, Key="audiences/o.jsonl", Body=b'{"user_id": "%s"}' % WHO.encode()
    )
    assert end_of(office, monkeypatch) == {"erased": False, "state": "unfinished"}
    assert waited_for(office.stack.s3, office.stack.bucket) == {"f" * 20}


def test_a_look_up_too_large_for_a_page(idle: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda would refuse the answer: the officer is asked to take the command line, as for an export."""
    id_ = idle.officers.find(OFFICER, WHO)
    idle.function.work()
    monkeypatch.setattr(service, "MAX_ANSWER_BYTES", 100)
    with pytest.raises(
        NotDone, match=r"too much for a page\. An engineer can export it \(notifier find USER --export FILE\)"
    ):
        idle.function.service.carry_out({"action": "job", "job": id_, "by": OLIVE})
    for key in (*idle.keys(TRAIL), *idle.keys(PREFIX)):
        idle.stack.s3.delete_object(Bucket=idle.stack.bucket, Key=key)


def test_what_takes_too_long_is_not_begun(office: Office) -> None:
    """The users are suppressed; how the rest is done is said; nothing was changed."""
    before = left(office.stack, {WHO})
    office.function.remaining_ms = 2_100
    job, _ = office.done(office.officers.erase(OFFICER, [WHO]))
    assert job.state == "unfinished"
    assert "notifier erase --again" in job.words
    assert left(office.stack, {WHO}) == before
    assert office.keys("suppression/_erased/")


def test_an_erasure_that_leaves_thousands_of_objects_comes_to_its_end(idle: Office) -> None:
    """The first are named, the others counted: what is said of them fits into the job's item, with the longest keys."""
    left = {f"standing/{n}/".ljust(1_024, "x"): "not JSON, which may have an erased user" for n in range(4_000)}
    words = service.erased_in_words(Erased({}, 0, 0, {}, left))
    assert (words.count("Not erased: "), "And 3,950 more. " in words) == (50, True)
    assert "Nothing of them is left" not in words
    jobs = idle.function.service._jobs
    job = msgspec.structs.replace(idle.function.service._begun("erase", OLIVE), state=JobState.UNFINISHED, words=words)
    jobs.put(job)
    assert jobs.get(job.id) == job
    few = service.erased_in_words(Erased({}, 0, 0, {}, dict(list(left.items())[:50])))
    assert (few.count("Not erased: "), " more. " in few) == (50, False)


def test_a_few_large_files_take_too_long_to_begin(idle: Office) -> None:
    """The time is estimated by bytes, too: else an erasure of hundreds of files begins, and is killed half way."""
    files = {f"standing/{n}.txt": [Version(f"standing/{n}.txt", "null", True, 900_000)] for n in range(600)}
    assert 850 < seconds_for(files) < 1_500
    packed = {f"standing/{n}.csv.gz": [Version(f"standing/{n}.csv.gz", "null", True, 3_000_000)] for n in range(100)}
    assert seconds_for(packed) > LONG_MS / 1000
    # A run of a million users: 380 MB of its results and of its audience, which has user ids.
    rows = {f"rows/run_id=a/{n}": [Version(f"rows/run_id=a/{n}", "null", True, 20_000)] for n in range(9_000)}
    parts = {
        f"audiences/prepared/a/{n}": [Version(f"audiences/prepared/a/{n}", "null", True, 10**7)] for n in range(20)
    }
    assert seconds_for(rows | parts) < 350
    for n in range(6):
        idle.stack.s3.put_object(Bucket=idle.stack.bucket, Key=f"standing/{n}.txt", Body=b"none " * 200_000)
    idle.function.remaining_ms = int(seconds_for(read_versions(idle.stack)) * 1000)
    job, _ = idle.done(idle.officers.erase(OFFICER, ["nobody here"]))
    assert "too little time" in job.words
    idle.function.remaining_ms = LONG_MS
    for key in (*idle.keys("standing/"), *idle.keys("suppression/"), *idle.keys(TRAIL)):
        idle.stack.s3.delete_object(Bucket=idle.stack.bucket, Key=key)


def test_a_job_that_broke_off_says_so(office: Office) -> None:
    """An invocation that was killed leaves its job running; after its time it is over. A job is worked on once."""
    id_ = office.officers.find(OFFICER, WHO)
    work = office.function.waiting.pop()
    office.function.now_ms += LONG_MS + 1
    assert office.officers.job(OFFICER, id_)[0].words == "It broke off. Start it once more."
    office.function.service.work(work, lambda: LONG_MS)
    office.function.service.work(work | {"user_id": "user-1-000000007"}, lambda: LONG_MS)
    found = office.officers.job(OFFICER, id_)[1]
    assert found is not None
    assert found.user_id == WHO


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        ({"action": "find", "user_id": ""}, "give a user id"),
        ({"action": "find", "user_id": "x" * 513}, "at most 512 characters"),
        ({"action": "erase", "user_ids": ["ü" * 257]}, "at most 512 characters, fewer where"),
        ({"action": "find", "user_id": "x", "since": "yesterday"}, "since: not a day"),
        ({"action": "erase", "user_ids": []}, "give 1 to 1,000 user ids"),
        ({"action": "erase", "user_ids": ["x"] * 1_001}, "give 1 to 1,000 user ids"),
        ({"action": "erase", "user_ids": "x"}, "give 1 to 1,000 user ids"),
        ({"action": "trail", "month": "x"}, "write it as 2026-11"),
        ({"action": "export", "job": "x"}, "no such look-up"),
        ({"action": "drop"}, "nothing that is known here"),
    ],
)
def test_what_cannot_be_done(idle: Office, ask: dict[str, Any], why: str) -> None:
    """Each with a sentence, and nothing written."""
    with pytest.raises(NotDone, match=why):
        idle.function.service.carry_out({**ask, "by": OLIVE})
    assert idle.trail() == []


def row(outcome: str, reason: str | None = None, campaign: str = "a") -> Row:
    return Row("r", campaign, 0, 0, WHO, "default", "ios", "apns", outcome, reason, 200, None, None, 1, None, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "left_out", "words"),
    [
        ((), "", "Nothing was sent to this user id, or what was is not kept any more."),
        ((row("accepted"),), "", "In 1 campaign: 1 push accepted by Apple or Google."),
        ((row("held"),), "", "In 1 campaign: 1 push held back for the control group."),
        (
            (row("failed", "expired"), row("accepted"), row("accepted", campaign="b"), row("rejected", "Unregistered"),
             row("accepted", DRY_RUN, "c")),
            "rqq",
            ("In 3 campaigns: 2 pushes accepted by Apple or Google, 1 in a rehearsal, which sends nothing, 1 refused "
            "by Apple or Google, 1 not sent. Left out of 2 campaigns."),
        ),
        ((), "rr", "Left out of 1 campaign."),
    ],
)  # fmt: skip
def test_what_was_found_in_words(rows: tuple[Row, ...], left_out: str, words: str) -> None:
    """What was sent, and what was not; a rehearsal sends nothing, whatever its rows say. A run is counted once."""
    excluded = tuple(LeftOut(run_id, WHO, "capped") for run_id in left_out)
    assert found_in_words(Found(WHO, rows, excluded)) == words


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ((), "Nothing is kept of that time: there is nothing to read."),
        (
            (RunPlan("r", ("k",), 10, by_index=True),),
            "It reads 1 file of 1 campaign, less than 0.1 MB. That takes about 1 second, and costs less than a cent.",
        ),
        (
            (RunPlan("r", ("k",) * 60_000, 3_400_000_000, by_index=False),) * 2,
            (
                "It reads 120,000 files of 2 campaigns, 6,800.0 MB. That takes about 50 minutes, and costs about "
                "0.05 US dollars."
            ),
        ),
    ],
)
def test_what_a_look_up_costs_in_words(runs: tuple[RunPlan, ...], words: str) -> None:
    """In files, seconds and money, before anything is read."""
    assert cost_in_words(Plan(runs)) == words


def test_what_is_out_of_reach_is_said_whole() -> None:
    """An officer reads as many places as the command line names, and none of its parameters."""
    assert len(OUT_OF_REACH_WORDS) == len(OUT_OF_REACH)
    assert not re.search(r"[A-Z][a-z]+[A-Z]|/", "; ".join(OUT_OF_REACH_WORDS))
