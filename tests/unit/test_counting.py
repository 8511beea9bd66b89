"""Counting: figures of an audience, by a job that may be cut short anywhere and loses nothing."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.audience import BrokenFile
from notifier.content.render import Renderer
from notifier.counting.counter import MAX_NAMES, OTHER, SAMPLES, AudienceCounter, AudienceFigures, TokenHashes
from notifier.counting.job import (
    AudienceUncountable,
    Claim,
    Counting,
    CountLost,
    CountProgress,
    CountStatus,
    count_id,
)
from notifier.model.account import Account
from notifier.model.arms import Arms
from notifier.model.campaign import Part, read_campaign
from notifier.model.cursor import Cursor
from notifier.model.spelling import BrokenRecord
from notifier.model.user_rows import joined_rows_note
from notifier.sending.batch_builder import BatchBuilder
from tests.twins.audience import MemoryAudience


def user(n: int, token: str | None = None, **more: Any) -> dict[str, Any]:
    return {"user_id": f"u{n}", "platform": "ios", "token": token or f"token-{n:08d}", **more}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now(self) -> float:
        return self.at_s

    def monotonic(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds


class MemoryJobs:
    """Jobs in a dict: what `DynamoCountJobs` keeps, without AWS."""

    def __init__(self) -> None:
        self.pieces: dict[str, bytes] = {}
        self.reported: list[CountProgress] = []
        self.saved = Claim("c", 0)
        self.result: AudienceFigures | None = None
        self.reason = ""
        self.released = 0

    def claim(self, count_id: str, by: str) -> Claim:
        saved = self.saved
        figures = AudienceCounter().figures if saved.epoch == 0 else saved.figures
        return Claim(count_id, saved.epoch + 1, saved.cursor, figures, saved.pieces)

    def report(self, claim: Claim, progress: CountProgress) -> None:
        self.reported.append(progress)

    def put_piece(self, claim: Claim, number: int, piece: bytes) -> str:
        name = f"e{claim.epoch}-{number}"
        self.pieces[name] = piece
        return name

    def read_piece(self, name: str) -> bytes:
        return self.pieces[name]

    def save(self, claim: Claim, progress: CountProgress) -> None:
        self.saved = claim
        self.reported.append(progress)

    def release(self, claim: Claim) -> None:
        self.released += 1

    def finish(self, claim: Claim, figures: AudienceFigures, progress: CountProgress) -> None:
        self.result = figures
        self.reported.append(progress)

    def fail(self, claim: Claim, reason: str) -> None:
        self.reason = reason


class Stream(MemoryAudience):
    """The twin, with the counting of bytes."""

    read_bytes = 0

    def take(self, limit: int) -> list[object]:
        taken = super().take(min(limit, 10))
        self.read_bytes += len(taken)
        return taken


def count(
    jobs: MemoryJobs, parts: Sequence[Sequence[object]], is_near_end: Callable[[], bool] | None = None
) -> CountStatus:
    named = [(f"p{n}", len(part)) for n, part in enumerate(parts)]
    counting = Counting(jobs, named, lambda cursor: Stream(parts, cursor), Clock(), is_near_end or (lambda: False), 10)
    return counting.run(jobs.claim("c", "ann"))


def test_figures_of_an_audience() -> None:
    """Users, devices by platform, broken ones, locales, time zones, attributes and repeats are counted."""
    jobs = MemoryJobs()
    records: list[object] = [
        user(1, locale="en-GB", timezone="Europe/London", attributes={"first_name": "Ann", "age": None}),
        {"user_id": "u2", "devices": [{"platform": "android", "token": "a"}, {"platform": "pager", "token": "b"}]},
        user(3, token="token-00000001", first_name="Cy"),
        BrokenRecord("not JSON"),
        {"user_id": "u5"},
    ]
    assert count(jobs, [records]) is CountStatus.DONE
    assert jobs.result is not None
    assert jobs.result.users == 5
    assert jobs.result.devices == 3
    assert jobs.result.platforms == {"ios": 2, "android": 1}
    assert jobs.result.repeated_tokens == 1
    assert jobs.result.invalid_records == 3
    assert jobs.result.locales == {"en-GB": 1}
    assert jobs.result.timezones == {"Europe/London": 1}
    assert jobs.result.without_timezone == 2
    assert jobs.result.attributes == {"first_name": 2}


def test_broken_records_are_told_with_part_and_number() -> None:
    """Also by a job that is cut short between two records of a part; a single part needs no name."""
    jobs, parts = MemoryJobs(), [[user(n) for n in range(25)], [], [user(1), {"user_id": "u"}], [{"user_id": "v"}]]
    ends = iter([False, True, True, True, False, False, False, False])
    while jobs.result is None:
        count(jobs, parts, lambda: next(ends, False))
    [group] = jobs.result.broken
    assert (group.reason, group.count) == ("token: missing", 2)
    assert [(place.part, place.record) for place in group.places] == [("p2", 1), ("p3", 0)]
    alone = MemoryJobs()
    count(alone, [[{"user_id": "u"}]])
    assert alone.result is not None
    assert alone.result.broken[0].places[0].part == ""


def test_samples_have_no_tokens() -> None:
    """Samples show up to twenty users; no token can be read in them."""
    tally = AudienceCounter()
    tally.take(user(n, token=f"secret-token-{n}", locale=f"l{n}") for n in range(50))
    assert len(tally.figures.samples) == SAMPLES
    assert "secret-token" not in str(tally.figures.samples)


def test_samples_differ() -> None:
    """After the first few, only users of a new locale or other platforms are shown."""
    tally = AudienceCounter()
    tally.take(user(n, locale="en") for n in range(50))
    tally.take([user(51, locale="de")])
    assert [sample.get("locale") for sample in tally.figures.samples] == ["en"] * 5 + ["de"]


def test_names_without_end_are_put_together() -> None:
    """A file whose locales are all different makes no figures without end."""
    tally = AudienceCounter()
    tally.take(user(n, locale=f"l{n}") for n in range(MAX_NAMES + 7))
    assert len(tally.figures.locales) == MAX_NAMES + 1
    assert tally.figures.locales[OTHER] == 7


@given(st.lists(st.integers(0, 40), max_size=120), st.integers(1, 12), st.randoms(use_true_random=False))
def test_cut_short_anywhere_the_figures_are_the_same(tokens: list[int], cuts: int, chance: random.Random) -> None:
    """However often the job is interrupted, it ends with the figures of one that was not, repeats included."""
    records = [user(n, token=f"t{token:08d}", locale="en") for n, token in enumerate(tokens)]
    parts = [records[: len(records) // 2], records[len(records) // 2 :]]
    whole = MemoryJobs()
    count(whole, parts)
    jobs = MemoryJobs()
    for _ in range(cuts):
        if count(jobs, parts, lambda: chance.random() < 0.3) is CountStatus.DONE:
            break
    else:
        assert count(jobs, parts) is CountStatus.DONE
    assert jobs.result == whole.result


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=80), st.randoms(use_true_random=False))
def test_rows_are_joined_as_in_a_run(rows: list[tuple[int, int]], chance: random.Random) -> None:
    """However the job is interrupted, users and devices are those that batches of the same records have."""
    records = [user(n, token=f"t{token}", locale="en", attributes={"name": "N"}) for n, token in rows]
    jobs = MemoryJobs()
    while count(jobs, [records[:33], records[33:]], lambda: chance.random() < 0.3) is not CountStatus.DONE:
        pass
    account = Account()
    maker = BatchBuilder(
        "r", "c", Arms("c", [("default", 10_000)]), Renderer(read_campaign({"id": "c", "message": {"body": "B"}}))
    )
    for number in range(-(-len(records) // 10)):
        batch = records[number * 10 : number * 10 + 10]
        account.add(maker.form(number, number * 10, batch, Cursor()).account)
    found = jobs.result
    assert found is not None
    assert (found.users, found.devices, found.invalid_records) == (
        account.users,
        account.devices,
        account.invalid_records,
    )
    assert found.records == len(records)
    assert found.locales.get("en", 0) == account.arm("default").assigned


def test_joined_rows_are_told() -> None:
    """A note explains why users and lines differ, and by how many a run may count too many."""
    assert joined_rows_note(300, 300) is None
    assert joined_rows_note(300, 100) == ("300 records are 100 users: consecutive rows of one user are one user")
    assert "(every 500 records) counts twice, so up to 2 may be too many" in str(joined_rows_note(1_500, 502))


def test_time_is_up() -> None:
    """With its time up the job is saved and its lease released, and it asks to be continued."""
    jobs = MemoryJobs()
    assert count(jobs, [[user(n) for n in range(30)]], lambda: True) is CountStatus.COUNTING
    assert jobs.saved.cursor == Cursor(record=10, in_part=10)
    assert jobs.released == 1
    assert jobs.reported[-1] == CountProgress(10, 10, 30)


def test_no_progress_ends_the_job() -> None:
    """A job that reaches no new user in an invocation does not invoke itself again and again."""
    jobs = MemoryJobs()

    class Slow(Stream):
        def take(self, limit: int) -> list[object]:
            return []

    counting = Counting(jobs, [("p", 1)], lambda cursor: Slow([[user(1)]], cursor), Clock(), lambda: True)
    assert counting.run(jobs.claim("c", "")) is CountStatus.FAILED
    assert jobs.reason.startswith("no_progress")


def test_a_broken_file_fails_the_job() -> None:
    """A file that cannot be read ends the job with the reason."""
    jobs = MemoryJobs()

    class Broken(Stream):
        def take(self, limit: int) -> list[object]:
            raise AudienceUncountable(str(BrokenFile("s3://b/k", "the file is cut off", (7,))))

    counting = Counting(jobs, [("p", 1)], lambda cursor: Broken([[user(1)]], cursor), Clock(), lambda: False)
    assert counting.run(jobs.claim("c", "")) is CountStatus.FAILED
    assert "cut off" in jobs.reason


def test_trouble_lets_the_job_go() -> None:
    """When the storage does not answer, the job is free for the retry at once."""
    jobs = MemoryJobs()

    class Unreachable(Stream):
        def take(self, limit: int) -> list[object]:
            raise ConnectionError

    counting = Counting(jobs, [("p", 1)], lambda cursor: Unreachable([[user(1)]], cursor), Clock(), lambda: False)
    with pytest.raises(ConnectionError):
        counting.run(jobs.claim("c", ""))
    assert jobs.released == 1


def test_a_lost_job_is_left_alone() -> None:
    """Who lost the job writes nothing more, not even to let it go."""

    class Lost(MemoryJobs):
        def finish(self, claim: Claim, figures: AudienceFigures, progress: CountProgress) -> None:
            raise CountLost

    jobs = Lost()
    with pytest.raises(CountLost):
        count(jobs, [[user(1)]])
    assert jobs.released == 0


def test_hashes_come_back() -> None:
    """Hashes that were put away in pieces and loaded again know the same repeats."""
    tokens = TokenHashes()
    for n in range(2_000):
        tokens.add(f"token-{n % 1500}")
    again = TokenHashes()
    pieces = list(tokens.pieces(4_000))
    assert len(pieces) > 2
    for piece in pieces:
        again.load(piece)
    assert (len(again), again.repeated()) == (2_000, 500)
    tokens.clear()
    assert len(tokens) == 0


def test_a_million_tokens_take_eight_megabytes() -> None:
    """What is kept of a token is eight bytes."""
    tokens = TokenHashes()
    for n in range(10_000):
        tokens.add(str(n))
    assert sum(map(len, tokens.pieces(1_000))) == 80_000


def test_the_jobs_name() -> None:
    """The name is of bucket, key, version and ETag of every part, in order; the approval app finds the job by it."""
    parts = [Part("audiences/a.json", "b", "v1", "e1"), Part("audiences/ü.json", "b", None, "e2")]
    assert count_id(parts) == "89b8d8926c16c18fcd54"
    assert count_id(parts[::-1]) != count_id(parts)
    assert count_id([msgspec.structs.replace(parts[0], etag="e2")]) != count_id(parts[:1])
