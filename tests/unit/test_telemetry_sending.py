"""What the gateways answered: the figures, and which batches are worth a document."""

from collections.abc import Mapping

import pytest

from notifier.model.cursor import Cursor
from notifier.model.exchange import Answer
from notifier.model.outcome import Disposition, Verdict
from notifier.model.recipient import Device, Platform
from notifier.sending.batch import Batch, Push, endpoint_of
from notifier.telemetry import NO_TRACE, BatchSpan, CallKind, Sending
from notifier.telemetry.sending import EDGES_MS, Node, slots_by_ms
from notifier.telemetry.trace import Trace

NODES = {"fcm": Node("FCM", "https://fcm.example.com"), "apns": Node("APNs", "https://apns.example.com")}
OK = Verdict(Disposition.ACCEPT)
DOWN = Verdict(Disposition.RETRY, "UNAVAILABLE")


def new_batch(number: int) -> Batch:
    """A batch with answers to come."""
    batch = Batch("r1", "c1", number, 0, Cursor())
    batch.open = 1
    return batch


def push_of(batch: Batch, platform: Platform = Platform.ANDROID) -> Push:
    """One device of it."""
    device = Device(platform, "token")
    return Push(batch, 0, 0, "u1", "a", device, endpoint_of(device))


def answer(latency_s: float = 0.05, status: int = 200) -> Answer:
    """A gateway's answer."""
    return Answer(ticket=None, status=status, latency_s=latency_s)


class Kept(Trace):
    """A trace that keeps what it is given."""

    active = True

    def __init__(self, room: int = 1_000) -> None:
        self.batches: list[BatchSpan] = []
        self.notes: dict[str, object] = {}
        self._room = room

    def batch(self, batch: BatchSpan) -> bool:
        if len(self.batches) >= self._room:
            return False
        self.batches.append(batch)
        return True

    def note(self, name: str, value: object) -> None:
        self.notes[name] = value


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self) -> float:
        return self.at


def send(
    sending: Sending, clock: Clock, number: int, took_s: float = 0.1, verdict: Verdict = OK, status: int = 200
) -> None:
    """One batch of two answers, over when this returns."""
    batch = new_batch(number)
    sending.answered(push_of(batch), answer(took_s, status), verdict)
    sending.answered(push_of(batch, Platform.IOS), answer(0.01), OK)
    batch.open = 0
    sending.collect_ended()


def test_first_slowest_failing_and_a_sample_are_kept() -> None:
    """Of a thousand batches some twenty become documents, each with its reason."""
    clock, kept = Clock(), Kept()
    sending = Sending(kept, NODES, clock.now)
    for number in range(1_000):
        failing = number in (300, 301)
        verdict, status = (DOWN, 503) if failing else (OK, 200)
        send(sending, clock, number, 9.0 if number == 700 else 0.1, verdict, status)
    sending.end()
    by_reason: dict[str, list[str]] = {}
    for batch in kept.batches:
        by_reason.setdefault(batch.why, []).append(batch.name)
    assert by_reason["first"] == ["batch 00000000"]
    assert by_reason["failing"] == ["batch 00000300", "batch 00000301"]
    assert by_reason["slowest"] == ["batch 00000700"]
    assert len(by_reason["sample"]) == 9  # the 2nd, 4th, 8th … 512th
    assert len(kept.batches) < 25


def test_at_most_ten_failing_batches_are_kept() -> None:
    """A gateway that is down for an hour does not fill the trace."""
    clock, kept = Clock(), Kept()
    sending = Sending(kept, NODES, clock.now)
    for number in range(500):
        send(sending, clock, number, verdict=DOWN, status=503)
    assert sum(batch.why == "failing" for batch in kept.batches) == 10


def test_a_kept_batch_shows_its_slowest_and_its_first_failing_request() -> None:
    """Calls in a document are real requests, with their own times; the figures count all of them."""
    clock, kept = Clock(), Kept()
    sending = Sending(kept, NODES, clock.now)
    batch = new_batch(0)
    for took_s, status, verdict in ((0.2, 200, OK), (0.05, 503, DOWN), (0.9, 200, OK), (0.1, 429, DOWN)):
        clock.at += 1
        sending.answered(push_of(batch), answer(took_s, status), verdict)
    batch.open = 0
    sending.collect_ended()
    [recorded] = kept.batches
    calls = {call.why: call for call in recorded.calls}
    assert (calls["failing"].status, calls["failing"].kind, calls["failing"].reason) == (
        503,
        CallKind.FAULT,
        "UNAVAILABLE",
    )
    assert calls["slowest"].status == 200
    assert calls["slowest"].ended_s - calls["slowest"].began_s == pytest.approx(0.9)
    assert recorded.figures == {"answers": 4, "failing": 2}
    assert recorded.faulty


def test_dead_tokens_are_fine_answers() -> None:
    """What a gateway refuses about one device is no failure of the gateway."""
    clock, kept = Clock(), Kept()
    sending = Sending(kept, NODES, clock.now)
    send(sending, clock, 0, verdict=Verdict(Disposition.DROP_TOKEN, "UNREGISTERED"), status=404)
    assert not kept.batches[0].faulty
    assert sending.gateways["fcm"].failing == 0


def test_one_failing_request_does_not_mark_a_batch() -> None:
    """One 503 among five hundred is weather: its request is marked, the batch is not."""
    clock, kept = Clock(), Kept()
    sending = Sending(kept, NODES, clock.now)
    batch = new_batch(0)
    for number in range(500):
        sending.answered(push_of(batch), answer(status=503 if number == 7 else 200), DOWN if number == 7 else OK)
    batch.open = 0
    sending.collect_ended()
    assert not kept.batches[0].faulty
    assert any(call.kind is CallKind.FAULT for call in kept.batches[0].calls)


def test_the_figures_count_every_answer() -> None:
    """Status by status, mean, median, 99th percentile and maximum of each gateway, whatever is kept of the batches."""
    clock, kept = Clock(), Kept(room=0)
    sending = Sending(kept, NODES, clock.now)
    batch = new_batch(0)
    for number in range(100):
        sending.answered(push_of(batch), answer(2.5 if number >= 98 else 0.045, 200), OK)
    sending.end()
    metadata = kept.notes["FCM"]
    assert isinstance(metadata, Mapping)
    assert metadata["requests"] == 100
    assert metadata["statuses"] == {"200": 100}
    assert (metadata["p50_ms"], metadata["p99_ms"], metadata["max_ms"]) == (50, 3_000, 2_500.0)
    assert "APNs" not in kept.notes


def test_without_a_trace_the_figures_are_the_same() -> None:
    """Metrics need them whether or not anybody traces."""
    clock = Clock()
    sending = Sending(NO_TRACE, NODES, clock.now)
    send(sending, clock, 0)
    assert sending.gateways["fcm"].answers == 1
    assert len(sending.batches_s) == 1


def test_every_disposition_has_a_meaning_for_the_trace() -> None:
    """A disposition that is added later is classified here too."""
    clock = Clock()
    sending = Sending(Kept(), NODES, clock.now)
    for disposition in Disposition:
        sending.answered(push_of(new_batch(0)), answer(), Verdict(disposition))
    fine = {Disposition.ACCEPT, Disposition.DROP_TOKEN, Disposition.REJECT}
    figures = sending.gateways["fcm"]
    assert (figures.answers, figures.failing) == (len(Disposition), len(set(Disposition) - fine))


def test_every_millisecond_has_its_slot() -> None:
    """A latency is counted under the first edge above it."""
    slots = slots_by_ms()
    assert [slots[ms] for ms in (0, 4, 5, 99, 100, 20_000)] == [0, 0, 1, 6, 7, len(EDGES_MS)]
