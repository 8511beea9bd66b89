"""What each step of a recipient's way costs, alone, without a network: CPU microseconds a user, best of several.

    python -m tests.bench.stages [--placeholders]

Steps: parse (ijson), form (validity, arm, words, pushes), ask (payload, headers, id), judge and end (verdict, row,
counts), settle (JSON lines, gzip; the PUT itself apart, against a client that throws bytes away).
"""

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgspec

from notifier.audience.array import ArrayParser
from notifier.audience.unpack import TEXT_BYTES
from notifier.content.render import Renderer
from notifier.gateway.apns import message as apns_message
from notifier.gateway.apns import verdict as apns_verdict
from notifier.gateway.carrier import Gateway, GatewayCarrier, RunContent
from notifier.gateway.fcm import message as fcm_message
from notifier.gateway.fcm import verdict as fcm_verdict
from notifier.model.arms import Arms
from notifier.model.campaign_reading import read_campaign
from notifier.model.cursor import Cursor
from notifier.model.exchange import Answer
from notifier.model.outcome import Access, Outcome, Readiness
from notifier.sending.batch import BATCH_SIZE, Push
from notifier.sending.batch_builder import BatchBuilder
from notifier.stores.s3_results import S3Results
from sandbox.audience import Recipe, campaign, make
from tests.bench.sink import FCM_ANSWER

USERS = 20_000
REPEATS = 7


class Credentials:
    """A header of the usual length."""

    generation = 0
    advice = ""

    def __init__(self, chars: int) -> None:
        self._line = "authorization: Bearer " + "a" * chars

    def header(self, now_s: float) -> str:
        """The line."""
        return self._line

    def access(self, now_s: float) -> Access:
        """Always."""
        return Access(Readiness.READY)

    def renew(self) -> None:
        """Nothing."""


class Nowhere:
    """An S3 client that keeps nothing."""

    def put_object(self, **_: Any) -> None:
        """Forget it."""


def best_us(step: Callable[[], object], users: int, repeats: int = REPEATS) -> float:
    """CPU microseconds a user, the cheapest of the repeats."""
    times = []
    for _ in range(repeats):
        gc.collect()
        began = time.thread_time()
        step()
        times.append(time.thread_time() - began)
    return min(times) / users * 1e6


def parse(text: bytes) -> list[object]:
    """The records of an array, in pieces as the stream hands them over."""
    parser = ArrayParser("bench")
    records: list[object] = []
    for start in range(0, len(text), TEXT_BYTES):
        records += parser.feed(text[start : start + TEXT_BYTES])
    return records + parser.feed(b"", final=True)


def carriers(renderer: Renderer) -> dict[str, GatewayCarrier]:
    """Both gateways, as composition makes them."""
    content = RunContent("r" * 20, "bench", renderer.wording)
    fcm = Gateway(
        lambda wording, label: fcm_message.Prepared(wording.message, wording.slots, label),
        lambda _token: fcm_message.path("bench"), fcm_verdict.judge, fcm_message.MAX_PAYLOAD_BYTES,
        takes_push_ids=False, can_validate=True,
    )  # fmt: skip
    apns = Gateway(
        lambda wording, label: apns_message.Prepared(wording.message, wording.slots, label, topic="com.example.app"),
        apns_message.path, apns_verdict.judge, apns_message.MAX_PAYLOAD_BYTES,
        takes_push_ids=True, can_validate=False,
    )  # fmt: skip
    return {
        "fcm": GatewayCarrier("fcm", fcm, cast("Any", Credentials(200)), content),
        "apns": GatewayCarrier("apns", apns, cast("Any", Credentials(170)), content),
    }


def main() -> None:  # noqa: C901 - one step after the other
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--placeholders", action="store_true")
    recipe = Recipe(users=USERS, placeholders=arguments.parse_args().placeholders)
    with TemporaryDirectory() as folder:
        text = make(recipe, Path(folder, "a.json")).read_bytes()
    array = text[text.index(b'"users": ') + 9 : text.rindex(b"}")].rstrip()
    described = read_campaign(msgspec.json.decode(msgspec.json.encode(campaign(recipe))))
    renderer = Renderer(described)
    builder = BatchBuilder("r" * 20, described.id, Arms(described.salt, described.arms), renderer)
    records = parse(array)
    starts = range(0, USERS, BATCH_SIZE)

    def form() -> list[Any]:
        return [builder.form(n // BATCH_SIZE, n, records[n : n + BATCH_SIZE], Cursor()) for n in starts]

    by_endpoint = carriers(renderer)

    def pushes() -> list[Push]:
        return [push for batch in form() for push in batch.waiting if not push.is_control]

    waiting = pushes()

    def ask() -> None:
        for push in waiting:
            push.asked_as = None
            by_endpoint[push.endpoint].ask(push, 1_800_000_000.0)

    answers = {
        "fcm": Answer(ticket=None, status=200, body=FCM_ANSWER.encode()),
        "apns": Answer(ticket=None, status=200),
    }

    def judge() -> None:
        for push in waiting:
            verdict = by_endpoint[push.endpoint].judge(answers[push.endpoint])
            push.batch.record_outcome(push, Outcome.ACCEPTED, None, "2026-11-21 14:00:00.000", 200, verdict.message_id)

    results = S3Results(Nowhere(), "bench")

    def settled() -> list[Any]:
        batches = form()
        for batch in batches:
            while batch.waiting:
                push = batch.waiting.popleft()
                push.asked_as = push.asked_as or "8a0e0f6f-3d5c-5b9d-9a3e-5c1b7d2f4e60"
                batch.record_outcome(
                    push, Outcome.ACCEPTED, None, "2026-11-21 14:00:00.000", 200, "projects/p/messages/0:150041"
                )
        return batches

    complete = settled()

    def settle() -> None:
        for batch in complete:
            results.settle(batch, 1)

    print(f"{USERS:,} users, {len(array) / USERS:.0f} bytes each; CPU us a user (asked: {len(waiting):,})")
    for step in (lambda: parse(array), form, ask, judge, settle):
        name = step.__name__ if step.__name__ != "<lambda>" else "parse"
        print(f"{name:8} {best_us(step, USERS):6.2f}")


if __name__ == "__main__":
    main()
