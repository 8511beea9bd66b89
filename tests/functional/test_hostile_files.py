"""Files that mean harm, and files that are merely odd, through everything: a sandbox, its stand-ins, one run each."""

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest

from notifier.model.run import Lane, source_of
from sandbox.trial import Setting, Trial

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
MAX_RSS_MB: Final = 400
"""A small ordinary run takes about 175 MB."""
TIMEOUT_S: Final = 60.0
CAMPAIGN: Final = '"campaign": {"id": "%s", "message": {"title": "Hello", "body": "there"}}'
USER: Final = f'{{"user_id": "u1", "platform": "ios", "token": "{7:064x}"}}'
USERS: Final = f'"users": [{USER}]'


class Sent(msgspec.Struct, frozen=True):
    """How a file ended."""

    lane: Lane
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One sandbox for all files."""
    with Trial.start(tmp_path_factory.mktemp("hostile"), Setting(retry_scale=0.02, schedule_every_s=2.0)) as started:
        yield started


def send(trial: Trial, body: bytes, key: str) -> Sent:
    """Drop it, and wait for the run's end."""
    trial.gateways.reset()
    put = trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=body)
    run_id = source_of(trial.sandbox.bucket, key, put.get("VersionId"), put["ETag"]).run_id
    *_, lane = trial.follow(run_id, TIMEOUT_S, every_s=0.1)
    assert lane is not None
    return Sent(lane, list(trial.rows(run_id)))


def packed(*pieces: tuple[bytes, int]) -> bytes:
    """Each text so many times over, as gzip of many members: never held unpacked, and quick to make."""
    out = []
    for text, times in pieces:
        block = text * (min(times, MIB))
        out.append(gzip.compress(block, 1) * (len(text) * times // len(block)))
    return b"".join(out)


def document(name: str, users: str) -> bytes:
    """A batch file around the text of its users."""
    return ("{" + CAMPAIGN % name + ", " + users + "}").encode()


HOSTILE: Final[dict[str, Callable[[], bytes]]] = {
    "a string of 1 GB": lambda: packed(
        (b"{" + (CAMPAIGN % "string").encode() + b', "users": [{"user_id": "', 1), (b"a", GIB), (b'"}]}', 1)
    ),
    "a key of 1 GB": lambda: packed((b'{"', 1), (b"k", GIB), (b'": 1}', 1)),
    "200 MB of spaces and then nothing": lambda: packed((b"{", 1), (b" ", 200 * MIB)),
    "1 GB of opening brackets": lambda: packed((b'{"campaign": ', 1), (b"[", GIB)),
    "users nested 100,000 deep": lambda: document("deep", '"users": [' + "[" * 100_000 + "]" * 100_000 + "]"),
    "a campaign nested 100,000 deep": lambda: b'{"campaign": ' + b'{"a": ' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "a number of a million digits": lambda: document("digits", '"users": [{"user_id": ' + "9" * 1_000_000 + "}]"),
    "a million digits in the campaign": lambda: (
        b'{"campaign": {"id": "n", "per_second": ' + b"9" * 1_000_000 + b"}, " + USERS.encode() + b"}"
    ),
    "an exponent of a million": lambda: (
        b'{"campaign": {"id": "e", "message": {"title": "t", "body": "b"}, "per_second": 1e1000000}, '
        + USERS.encode()
        + b"}"
    ),
    "a second campaign": lambda: document("second", USERS + ", " + CAMPAIGN % "third"),
    "users twice": lambda: document("twice", USERS + ", " + USERS),
    "no JSON": lambda: b"\x00\x01\x02" * 1000,
    "UTF-16": lambda: document("utf16", USERS).decode().encode("utf-16"),
    "a gzip that is cut off": lambda: gzip.compress(document("cut", USERS))[:-12],
    "a gzip with rubbish behind it": lambda: gzip.compress(document("behind", USERS)) + b"rubbish",
    "a campaign id with NUL": lambda: document("a\\u0000b", USERS),
    "a campaign id with half a surrogate pair": lambda: document("a\\ud800b", USERS),
    "nothing": lambda: b"",
    "percentages that do not add up": lambda: (
        b'{"campaign": {"id": "p", "message": {"title": "t", "body": "b"}, '
        b'"variants": [{"name": "a", "percent": 99.99}]}, ' + USERS.encode() + b"}"
    ),
    "a pace of nothing": lambda: (
        b'{"campaign": {"id": "z", "message": {"title": "t", "body": "b"}, "per_second": 0}, ' + USERS.encode() + b"}"
    ),
    "a pace below nothing": lambda: (
        b'{"campaign": {"id": "m", "message": {"title": "t", "body": "b"}, "per_second": -5}, ' + USERS.encode() + b"}"
    ),
    "a time to live below nothing": lambda: (
        b'{"campaign": {"id": "t", "message": {"title": "t", "body": "b", "ttl_s": -1}}, ' + USERS.encode() + b"}"
    ),
}


SIBLINGS: Final = {
    "a key of 1 GB", "a campaign nested 100,000 deep", "a million digits in the campaign", "a second campaign",
    "a gzip with rubbish behind it", "a campaign id with half a surrogate pair", "percentages that do not add up",
    "a pace of nothing", "a pace below nothing", "a time to live below nothing",
}  # fmt: skip
"""Each is of a kind of which the gate plays another, and has its unit test."""


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow) if one in SIBLINGS else one for one in HOSTILE]
)
def test_a_hostile_file_ends_in_a_clear_fault(trial: Trial, name: str) -> None:
    """The run fails and says why, in bounded time and memory; nothing was asked for."""
    sent = send(trial, HOSTILE[name](), f"batches/hostile-{list(HOSTILE).index(name)}.json")
    assert sent.lane.status == "failed"
    assert sent.lane.reason
    assert len(sent.lane.reason) < 1_000
    assert "Traceback" not in sent.lane.reason
    assert sent.rows == []
    counts = trial.gateways.counts()
    assert counts.fcm.requests + counts.apns.requests == 0
    figures = trial.sandbox.lambda_.figures(trial.sandbox.function("WorkerFunction").name)
    assert figures.peak_rss_mb < MAX_RSS_MB
    assert figures.failures == 0


def test_broken_records_do_not_harm_the_others(trial: Trial) -> None:
    """Depth, digits, NUL, surrogates, huge values: each breaks its own record, and the rest is sent."""
    odd = [
        '{"user_id": "deep", "attributes": {"a": ' + "[" * 900 + "]" * 900 + "}}",
        '{"user_id": "digits", "platform": "ios", "token": ' + "1" * 1500 + "}",
        '{"user_id": "half \\udc00", "platform": "ios", "token": "x"}',
        '{"user_id": "no token", "platform": "ios", "token": ""}',
        '{"user_id": "nul in its token", "platform": "ios", "token": "a\\u0000b"}',
        '{"user_id": "long", "platform": "ios", "token": "' + "a" * 500_000 + '"}',
        '{"user_id": 1e400, "platform": "ios", "token": "x"}',
        "null",
        '"a text"',
        "[]",
    ]
    good = [f'{{"user_id": "good-{n}", "platform": "ios", "token": "{n:064x}"}}' for n in range(60)]
    sent = send(
        trial, document("odd-records", '"users": [' + ",".join([*odd, *good]) + "]"), "batches/odd-records.json"
    )
    assert sent.lane.status == "completed"
    assert sorted(row["user_id"] for row in sent.rows) == sorted(f"good-{n}" for n in range(60))
    assert sent.lane.account.invalid_records == len(odd)


ODD_KEYS: Final = (
    "batches/two words.json",
    "batches/a+b.json",
    "batches/100%.json",
    "batches/%2F%20.json",
    "batches/Grüße 😀.json",
    'batches/it\'s "quoted".json',
    "batches/a&b=c?d#e;f.json",
    "batches/deep//er/.json",
    "batches/../up.json",
)


@pytest.mark.parametrize(
    "key", [*ODD_KEYS[3:6], *(pytest.param(one, marks=pytest.mark.slow) for one in (*ODD_KEYS[:3], *ODD_KEYS[6:]))]
)
def test_a_key_of_any_legal_characters(trial: Trial, key: str) -> None:
    """S3's event has the key in an encoding of its own: the run is that of the very object."""
    sent = send(trial, document(f"key-{ODD_KEYS.index(key)}", USERS), key)
    assert sent.lane.status == "completed"
    assert [row["outcome"] for row in sent.rows] == ["accepted"]


def test_ids_arms_and_texts_of_any_legal_characters(trial: Trial) -> None:
    """Spaces, quotes, percent signs, slashes, other scripts: they come back in the rows as they were."""
    ids = ["a b", "a/b", "a%20b", 'a"b', "a'b", "a\\b", "Ünïcödé 😀", "$(id)", "{{ a }}", "-", "0", "a\tb"]
    users = [
        {"user_id": id_, "platform": "android", "token": f"tok{n:040x}", "attributes": {"name": id_}}
        for n, id_ in enumerate(ids)
    ]
    campaign = {
        "id": "odd 'ids' + 100 % / 😀",
        "message": {"title": "Hi {{ name }}", "body": 'A "quoted" \\ body 😀'},
        "variants": [{"name": "a_b-1", "percent": 50}, {"name": "0", "percent": 50}],
    }
    body = json.dumps({"campaign": campaign, "users": users}).encode()
    sent = send(trial, body, "batches/odd-ids.json")
    assert sent.lane.status == "completed", sent.lane.reason
    assert sorted(row["user_id"] for row in sent.rows) == sorted(ids)
    assert {row["campaign_id"] for row in sent.rows} == {campaign["id"]}


TEMPLATES: Final = (
    "{{ 7 | times: 6 }}",
    "{% for i in (1..1000000000) %}x{% endfor %}",
    "{{ user_id }}{% include 'secret' %}",
    "{{ __class__.__mro__ }}",
    "${AWS_SECRET_ACCESS_KEY}",
    "%s %n {0.__class__}",
    "{% raw %}{{ name }}{% endraw %}",
)


def test_template_text_in_attributes_is_text(trial: Trial) -> None:
    """An attribute is shown as it is, whatever it looks like."""
    tokens = [f"template{n:040x}" for n in range(len(TEMPLATES))]
    trial.gateways.register(*tokens)
    users = [
        {"user_id": f"u{n}", "platform": "android", "token": token, "attributes": {"name": text}}
        for n, (token, text) in enumerate(zip(tokens, TEMPLATES, strict=True))
    ]
    campaign = {"id": "templates", "message": {"title": "Hi {{ name }}", "body": "b"}}
    sent = send(trial, json.dumps({"campaign": campaign, "users": users}).encode(), "batches/templates.json")
    assert sent.lane.status == "completed", sent.lane.reason
    for token, text in zip(tokens, TEMPLATES, strict=True):
        (push,) = trial.gateways.pushes(token)
        assert push["payload"]["message"]["notification"]["title"] == f"Hi {text}"


def test_what_a_message_may_not_do_is_refused(trial: Trial) -> None:
    """Loops, includes and unknown filters in a message fail the file: a message is no program."""
    for n, text in enumerate(
        ("{% for i in (1..1000000000) %}x{% endfor %}", "{% include 'a' %}", "{{ name | shell }}")
    ):
        campaign = {"id": f"program-{n}", "message": {"title": text, "body": "b"}}
        body = json.dumps({"campaign": campaign, "users": [json.loads(USER)]}).encode()
        sent = send(trial, body, f"batches/program-{n}.json")
        assert sent.lane.status == "failed"
        assert sent.lane.reason
