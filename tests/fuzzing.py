"""What is fuzzed, and three ways to do it: by hypothesis (`tests/unit/test_fuzz.py`), by mutation, by coverage.

    python -m tests.fuzzing 60                     mutates samples for 60 s, and says how many inputs that were
    python -m tests.fuzzing 60 --atheris server    one target, guided by coverage (`uv pip install atheris`)

A target takes any bytes. Whatever it raises is a find.
"""

import gzip
import importlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from notifier.audience.batch_file_parser import BatchFileParser
from notifier.audience.part_parser import PartParser
from notifier.audience.unpack import Unpacker
from notifier.gateway.apns import verdict as apns_verdict
from notifier.gateway.fcm import verdict as fcm_verdict
from notifier.gateway.http2 import frames
from notifier.gateway.http2.connection import Connection
from notifier.gateway.http2.stream import Stream
from notifier.model.audience_faults import BrokenFile
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.exchange import Answer, NoAnswer, Request
from notifier.model.outcome import Disposition
from notifier.model.record_reading import read_recipient
from notifier.model.spelling import BrokenRecord

PIECES = (1, 7, 64, 4096, 65_536)
STATUSES = (0, 200, 400, 401, 403, 404, 405, 410, 413, 418, 429, 500, 502, 503, 504)


def read_file(data: bytes) -> None:
    """A batch file or a part, from stored bytes to judged records. The first byte chooses the form and the pieces."""
    if not data:
        return
    choice, stored = data[0], data[1:]
    piece = PIECES[choice % len(PIECES)]
    parser: Any = BatchFileParser("s3://b/k") if choice & 0x80 else PartParser("s3://b/k", ids=bool(choice & 0x40))
    unpacker = Unpacker("s3://b/k")
    records: list[object] = []
    try:
        for start in range(0, len(stored) + piece, piece):
            unpacker.push(stored[start : start + piece])
            while text := unpacker.pull():
                records += parser.feed(text)
        records += parser.feed(b"", final=True)
    except BrokenFile as fault:
        assert len(str(fault)) < 1_000  # noqa: PT017 - the text is what is looked at
        records += parser.salvage()
    for record in records:
        _judge(record)
    if choice & 0x80 and "campaign" in parser.values:
        _judge_campaign(parser.values["campaign"])


def _judge(record: object) -> None:
    if isinstance(record, BrokenRecord):
        return
    try:
        recipient = read_recipient(record)
    except BrokenRecord as fault:
        assert len(str(fault)) < 1_000  # noqa: PT017
        return
    recipient.user_id.encode()
    for _, device in recipient.devices:
        device.token.encode("ascii")


def _judge_campaign(decoded: object) -> None:
    try:
        campaign = read_campaign(decoded)
    except BrokenCampaign as fault:
        assert fault.faults  # noqa: PT017
        return
    assert campaign.id


def judge_answers(data: bytes) -> None:
    """One answer of either gateway: any status, any bytes, any `Retry-After`, or none at all."""
    if len(data) < 3:
        return
    status = STATUSES[data[0] % len(STATUSES)] if data[0] < 0xF0 else int.from_bytes(data[:2])
    no_answer = (*NoAnswer, None)[data[1] % (len(NoAnswer) + 1)] if status == 0 else None
    retry_after_s = data[2] - 1 if data[2] else None
    answer = Answer(
        ticket=None,
        status=status,
        body=data[3:],
        retry_after_s=retry_after_s,
        no_answer=no_answer,
        detail="late",
    )
    for judge in (fcm_verdict.judge, apns_verdict.judge):
        verdict = judge(answer)
        assert isinstance(verdict.disposition, Disposition)
        assert (verdict.reason is None) is (verdict.disposition is Disposition.ACCEPT)
        if verdict.reason is not None:
            assert 0 < len(verdict.reason) <= 200
            verdict.reason.encode()


_HELLO = frames.settings(())


def talk_to_server(data: bytes) -> list[Stream]:
    """A gateway that sends any bytes over HTTP/2: each request ends exactly once. Returns them.

    The first byte chooses the pieces, and whether the server begins with SETTINGS as it must.
    """
    connection = Connection("gateway.example")
    choice, rest = data[:1] or b"\0", data[1:]
    piece = PIECES[choice[0] % len(PIECES)]
    opened: list[Stream] = []
    ended: list[Stream] = []
    for received in (
        b"" if choice[0] & 0x80 else _HELLO,
        *(rest[at : at + piece] for at in range(0, len(rest), piece)),
    ):
        ended += connection.receive(received)
        while connection.room and len(opened) < 4:
            opened.append(Stream(Request(endpoint="gw", path="/", headers=(), body=b"{}" * 99, ticket=None)))
            assert connection.submit(opened[-1])
        while connection.has_data:
            assert connection.data_to_send()
    ended += connection.lost("over")
    assert sorted(map(id, ended)) == sorted(map(id, opened))
    assert all(stream.outcome is not None for stream in ended)
    return opened


TARGETS: dict[str, Callable[[bytes], object]] = {
    "files": read_file,
    "answers": judge_answers,
    "server": talk_to_server,
}

_CAMPAIGN = {
    "id": "c",
    "message": {"title": "Hi {{ name | default: 'you' }}", "body": "b", "ttl_s": 5, "data": {"a": "b"}},
    "variants": [{"name": "a", "percent": 45.5}, {"name": "b", "percent": 44.5}],
    "control_percent": 10,
    "per_second": 5,
    "not_before": "2026-11-21T20:00:00Z",
}
_USERS = [
    {"user_id": "u1", "devices": [{"platform": "ios", "token": "00ff"}], "locale": "de", "attributes": {"name": "A\\"}},
    {"user_id": 7, "platform": "android", "token": "t:x", "city": "Köln 😀"},
]
_DOCUMENT = json.dumps({"campaign": _CAMPAIGN, "users": _USERS}).encode()
_REVERSED = json.dumps({"users": _USERS, "campaign": _CAMPAIGN}, ensure_ascii=False, indent=1).encode()
_HEAD = frames.END_HEADERS
_ENDS = _HEAD | frames.END_STREAM
_LINES = b"\n".join(json.dumps(user).encode() for user in _USERS)
SAMPLES: dict[str, tuple[bytes, ...]] = {
    "files": (
        b"\x83" + _DOCUMENT,
        b"\x84" + _REVERSED,
        b"\x82" + gzip.compress(_DOCUMENT),
        b"\x03" + _LINES,
        b"\x03" + json.dumps(_USERS).encode(),
        b"\x01" + json.dumps({"users": _USERS}).encode(),
        b"\x44" + b'"u1"\n7\n{"user_id": "u2"}',
    ),
    "answers": (
        b"\x01\x00\x00" + b'{"name": "projects/p/messages/0:1"}',
        b"\x02\x00\x00" + b'{"reason": "BadDeviceToken"}',
        b"\x07\x00\x00" + b'{"reason": "Unregistered", "timestamp": 1700000000000}',
        b"\x05\x00\x05" + json.dumps(
            {
                "error": {
                    "code": 404,
                    "message": "Requested entity was not found.",
                    "status": "NOT_FOUND",
                    "details": [
                        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"},
                        {"@type": "x/google.rpc.BadRequest", "fieldViolations": [{"field": "message.token"}]},
                        {"@type": "x/google.rpc.QuotaFailure", "violations": [{"subject": "device:x"}]},
                    ],
                }
            }
        ).encode(),
        b"\x0c\x00\x09<!DOCTYPE html><title>Error 502</title>",
        b"\x00\x01\x00",
    ),
    "server": (
        b"\x04" + frames.frame(frames.HEADERS, _ENDS, 1, b"\x88"),
        b"\x02" + frames.frame(frames.HEADERS, _HEAD, 3, b"\x8d") + frames.frame(frames.DATA, 1, 3, b"{}"),
        b"\x01"
        + frames.frame(frames.HEADERS, frames.END_STREAM, 1, b"\x20\x48")
        + frames.frame(frames.CONTINUATION, _HEAD, 1, b"\x03429"),
        b"\x84"
        + frames.settings(((3, 1), (4, 9), (1, 0)))
        + frames.window_update(0, 50)
        + frames.frame(frames.RST_STREAM, 0, 1, b"\0\0\0\7"),
        b"\x04" + frames.frame(frames.GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0") + frames.ping(b"notifier"),
    ),
}  # fmt: skip
TOKENS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"\\udc00", b"null", b"true", b"1e999", b"-",
    b"0",
    b"9" * 2_100, b"NaN", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1f\x8b", b"users", b"campaign", b"{}",
    b"[[[[", b'"users":[', b'"a":{"a":', b"\n", b" ", b"error", b"details", b"@type", b"errorCode", b"reason",
)  # fmt: skip


def mutated(data: bytes, draw: random.Random, others: tuple[bytes, ...]) -> bytes:
    """A few changes: cut, doubled, swapped, spliced, bits flipped, words put in."""
    text = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 9))):
        at = draw.randrange(len(text) + 1)
        to = min(len(text), at + draw.choice((1, 2, 8, 40)))
        match draw.randrange(7):
            case 0:
                del text[at:to]
            case 1:
                text[at:at] = text[at:to] * draw.choice((1, 3, 60))
            case 2:
                text[at:at] = draw.choice(TOKENS)
            case 3:
                text[at:to] = draw.choice(TOKENS)
            case 4 if text:
                text[draw.randrange(len(text))] ^= 1 << draw.randrange(8)
            case 5:
                other = draw.choice(others)
                text[at:] = other[draw.randrange(len(other)) :]
            case _:
                del text[at:]
    return bytes(text)


def by_mutation(name: str, seconds: float, seed: int, limit: int | None = None) -> int:
    """Mutate samples until the time, or the number of inputs, is reached. Returns how many inputs that were."""
    target, samples, draw = TARGETS[name], SAMPLES[name], random.Random(seed)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end and (limit is None or count < limit):
        data = mutated(draw.choice(samples), draw, samples)
        try:
            target(data)
        except BaseException:
            print(f"{name}: {data!r}", file=sys.stderr)  # noqa: T201 - the find
            raise
        count += 1
    return count


def _by_coverage(name: str, seconds: int) -> None:
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

    for loaded in [module for module in sys.modules if module.startswith("notifier.")]:
        del sys.modules[loaded]
    with atheris.instrument_imports(include=["notifier"]):
        targets = importlib.import_module("tests.fuzzing").TARGETS
    options = [f"-max_total_time={seconds}", "-rss_limit_mb=1024", "-max_len=6000", "-print_final_stats=1"]
    with tempfile.TemporaryDirectory() as corpus:
        for number, sample in enumerate(SAMPLES[name]):
            Path(corpus, str(number)).write_bytes(sample)
        atheris.Setup([sys.argv[0], *options, corpus], targets[name])
        atheris.Fuzz()


def main() -> None:
    """Fuzz everything for so many seconds each."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    if "--atheris" in sys.argv:
        _by_coverage(sys.argv[-1] if sys.argv[-1] in TARGETS else "files", seconds)
        return
    for name in TARGETS:
        count = by_mutation(name, seconds, seed=time.time_ns())
        print(f"{name}: {count:,} inputs in {seconds} s, no find")  # noqa: T201


if __name__ == "__main__":
    main()
