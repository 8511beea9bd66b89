"""Events: every sample in `events/` says what it should, and nothing else is guessed at."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.events.triggers import MAX_WRAPPINGS, OWN_PREFIXES, Drop, Ignored, LaneNudge, UnknownEvent, nudges

EVENTS = Path(__file__).parents[2] / "events"
RUN = "5d41402abc4b2a76b971"
BUCKET = "example-notifier"
ETAG = "b21b84d653bb07b05b1e6b33684dc11b"
PARTED = "d41d8cd98f00b204e9800998ecf8427e-3"
VERSION = "096fKKXTRTtl3on89fVO.nfljtsv6qko"
NINE_MS = 1_795_251_600_000
"""2026-11-21T09:00:00Z, which the samples say."""
ANN = "AWS:AROAEXAMPLEID:ann@example.com"

PUT = Drop(BUCKET, "batches/day-2.json", VERSION, ETAG, ANN, NINE_MS)
BRIDGED = Drop(BUCKET, "batches/Woche 47 1+1.json", "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", ETAG, "123456789012", NINE_MS)
NO_BATCH_FILE = "the name of a batch file ends with .json or .json.gz"
AN_AUDIENCE = (
    "one user a line is an audience, not a batch file: "
    "put it under audiences/ and name it in audience.parts of a batch file"
)

EXPECTED: dict[str, tuple[Drop | LaneNudge | Ignored, ...]] = {
    "s3-put-versioned": (Drop(BUCKET, "batches/day-2.json", VERSION, ETAG, ANN, NINE_MS),),
    "s3-put-unversioned": (Drop(BUCKET, "batches/day-2.json", None, ETAG, ANN, NINE_MS),),
    "s3-multipart-without-sequencer": (Drop(BUCKET, "batches/day-2.json.gz", None, PARTED, ANN, NINE_MS),),
    "s3-several-records": (
        Drop(BUCKET, "batches/a.json", "vA", ETAG, ANN, NINE_MS),
        Drop(BUCKET, "batches/b.json.gz", "vB", PARTED, ANN, NINE_MS),
    ),
    "s3-encoded-key": (Drop(BUCKET, "batches/Woche 47 (früh) 1+1=2 🎉 100%.json", "v1", ETAG, ANN, NINE_MS),),
    "s3-test-event": (),
    "s3-other-names": (
        Drop(BUCKET, "batches/Upper.JSON", VERSION, ETAG, ANN, NINE_MS),
        Drop(BUCKET, "batches/Upper.Json.GZ", VERSION, ETAG, ANN, NINE_MS),
        Ignored(f"s3://{BUCKET}/batches/users.jsonl", AN_AUDIENCE),
        Ignored(f"s3://{BUCKET}/batches/users.csv", NO_BATCH_FILE),
    ),
    "eventbridge-object-created": (BRIDGED,),
    "sns-s3-put": (PUT,),
    "sqs-s3-put": (PUT,),
    "sqs-sns-s3-put": (PUT, BRIDGED),
    "sqs-s3-put-and-others": (
        Ignored("a message of SQS", "its text is not JSON: expected an event of S3 or EventBridge"),
        PUT,
        Ignored("a message of SQS", 'expected an S3 event or {"bucket": …, "key": …}, got the members [\'hello\']'),
    ),
    "direct": (Drop(BUCKET, "batches/day-2.json"),),
    "direct-with-version": (Drop(BUCKET, "batches/Woche 47 1+1.json", VERSION),),
    "continuation": (LaneNudge(RUN, 0, "continue"),),
    "sweeper-nudge": (LaneNudge(RUN, 0, "nudge"),),
}
OTHERS = {"sweeper-schedule", "control-pause", "control-resume", "control-cancel"}
"""Events of the two other functions."""


def sample(name: str) -> dict[str, Any]:
    """An event as its source sends it."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


def test_every_sample_is_expected() -> None:
    """No sample is left untested."""
    assert {path.stem for path in EVENTS.glob("*.json")} == EXPECTED.keys() | OTHERS


@pytest.mark.parametrize("name", EXPECTED)
def test_samples(name: str) -> None:
    """Each sample asks for what its source meant."""
    assert nudges(sample(name)) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_events_of_other_functions(name: str) -> None:
    """They are refused by name, not taken for work."""
    with pytest.raises(UnknownEvent, match=r"expected an S3 event or \{"):
        nudges(sample(name))


@pytest.mark.parametrize("name", [name for name, found in EXPECTED.items() if found])
def test_passed_on(name: str) -> None:
    """What is passed on to another invocation is read there as it was meant here."""
    for found in nudges(sample(name)):
        if isinstance(found, Ignored):
            continue
        assert nudges(msgspec.json.decode(msgspec.json.encode(found))) == (found,)


@pytest.mark.parametrize("name", EXPECTED)
def test_replayed(name: str) -> None:
    """A dead letter's count of replays changes nothing."""
    assert nudges(sample(name) | {"replays": 2}) == EXPECTED[name]


def test_one_version_is_one_run() -> None:
    """Events for one version begin one run; another version, or an overwritten object, is another run."""
    (put,) = nudges(sample("s3-put-versioned"))
    (plain,) = nudges(sample("s3-put-unversioned"))
    assert isinstance(put, Drop)
    assert isinstance(plain, Drop)
    by_bridge = Drop(put.bucket, put.key, put.version_id, f'"{put.etag}"')
    source, same, other = put.source(), by_bridge.source(), plain.source()
    assert source is not None
    assert same is not None
    assert other is not None
    assert source.run_id == same.run_id == "c9987724535b82689f79"
    assert other.run_id != source.run_id
    assert other.version == ETAG


def test_a_bucket_that_once_kept_versions() -> None:
    """S3 calls the version of an object in such a bucket `null`: the ETag distinguishes its versions."""
    first, second = (Drop("b", "k", "null", etag).source() for etag in ("e1", "e2"))
    assert first is not None
    assert second is not None
    assert (first.version_id, first.version) == (None, "e1")
    assert first.run_id != second.run_id


def test_eventbridge_judges_names_alike() -> None:
    """What S3 would be ignored for, or taken for, EventBridge is too."""
    for record, expected in zip(sample("s3-other-names")["Records"], (*EXPECTED["s3-other-names"], None), strict=True):
        event = sample("eventbridge-object-created")
        event["detail"]["object"]["key"] = record["s3"]["object"]["key"]
        found = nudges(event)
        if isinstance(expected, Drop):
            assert [drop.key for drop in found if isinstance(drop, Drop)] == [expected.key]
        else:
            assert found == ((expected,) if expected else ())


def test_wrapped_without_end() -> None:
    """A message in a message in a message ends somewhere, and says so."""
    event: dict[str, Any] = sample("s3-put-versioned")
    for _ in range(MAX_WRAPPINGS):
        event = {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(event)}]}
    assert nudges(event) == (PUT,)
    event = {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(event)}]}
    assert nudges(event) == (Ignored("a message of SQS", "the event is wrapped more than 4 times"),)


@pytest.mark.parametrize("body", [None, 5, {}, "", "[]", '"x"', "{}"])
def test_a_message_that_holds_no_event(body: object) -> None:
    """It is named, whatever it is made of; it does not keep the event's other messages from their runs."""
    good = sample("sqs-s3-put")["Records"][0]
    found = nudges({"Records": [{"eventSource": "aws:sqs", "body": body}, good]})
    assert [type(one) for one in found] == [Ignored, Drop]


def test_no_etag() -> None:
    """An event without an ETag leaves the version to be asked for."""
    assert Drop("b", "k", "v").source() is None


@pytest.mark.parametrize("prefix", OWN_PREFIXES)
def test_our_own_objects(prefix: str) -> None:
    """What the notifier wrote itself never starts a run, should the bucket's filter be missing."""
    by_s3, by_bridge = sample("s3-put-versioned"), sample("eventbridge-object-created")
    by_s3["Records"][0]["s3"]["object"]["key"] = prefix.replace("/", "%2F") + "x.json"
    by_bridge["detail"]["object"]["key"] = prefix + "x.json"
    assert nudges(by_s3) == nudges(by_bridge) == ()


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "batches/a.json",
        {},
        {"Records": None},
        {"Records": [1]},
        {"Records": [{"eventName": "ObjectCreated:Put"}]},
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": 5}}}]},
        {"source": "aws.s3", "detail-type": "Object Created"},
        {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": {}}},
        {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {"bucket": {"name": "b"}, "object": {"key": 5}},
        },
        {"bucket": "b"},
        {"bucket": "b", "key": 5},
        {"bucket": None, "key": "k"},
        {"notifier": "continue"},
        {"notifier": "continue", "run_id": 5},
        {"notifier": "continue", "run_id": "r", "lane": "0"},
        {"notifier": "else", "run_id": "r"},
    ],
)
def test_unknown(event: object) -> None:
    """Anything else is an error that says what was expected, whatever it is made of."""
    with pytest.raises(UnknownEvent):
        nudges(event)


def test_the_continuation_is_the_documented_one() -> None:
    """What the notifier invokes itself with is the sample."""
    assert json.loads(LaneNudge(RUN, 0, "continue").encode()) == sample("continuation")
    assert json.loads(LaneNudge(RUN).encode()) == sample("sweeper-nudge")


@pytest.mark.parametrize("time", [None, "", "yesterday", 12, {}])
def test_a_time_that_is_none_harms_nobody(time: object) -> None:
    """Only a metric wants to know when it was: whatever the field says, the file is sent."""
    event = sample("s3-put-versioned")
    event["Records"][0]["eventTime"] = time
    assert nudges(event) == (Drop(BUCKET, "batches/day-2.json", VERSION, ETAG, ANN, None),)
