"""Opening a run: once, from what its file says then, and never again."""

from typing import Any

import pytest

from notifier.lifecycle.admission import STATE, STATE_GONE, Admission, AdmittedCampaign, NotAdmitted
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Audience
from notifier.model.cursor import Cursor
from notifier.model.run import Lane, Run, Source, UnfinishedClaim, source_of
from notifier.model.spelling import BrokenRecord
from tests.twins.audience import MemoryAudience
from tests.twins.hop_factory import users
from tests.twins.ledger import MemoryLedger
from tests.twins.settlements import MemoryResults

RUN = Run("r1", source_of("drop", "batches/a.json", "v1", "e1"), 7)


class Shelf:
    """A library with one batch file, which names its audience."""

    def __init__(self) -> None:
        self.campaign = {"id": "c", "message": {"title": "t", "body": "b"}}
        self.audience = {"parts": [{"key": "audiences/u.json"}]}
        self.asked: list[str] = []
        self.parts: list[list[Any]] = [users(3)]

    def head(self, source: Source) -> Any:
        return self

    def pin_source(self, source: Source) -> Any:
        raise AssertionError("the file names its audience")

    def pin_parts(self, audience: Audience, bucket: str, field: str) -> tuple[Any, ...]:
        self.asked.append(field)
        return tuple(PinnedObject(bucket, part.key, None, "e", 1) for part in audience.parts)

    def stream_from_start(self, admitted: AdmittedCampaign) -> MemoryAudience:
        return MemoryAudience(self.parts, Cursor())


class World:
    """A ledger, a store and a file."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger(lambda: 5.0)
        self.ledger.open_run(RUN)
        self.results = MemoryResults()
        self.shelf = Shelf()

    def open(self, *, begun: bool = False) -> AdmittedCampaign:
        """One hop's opening."""
        opening = Admission(self.shelf, self.results, self.ledger, lambda _: (), rehearse=False)
        run = self.ledger.read_run("r1")
        assert run is not None
        return opening.open(run, begun=begun)

    def expire(self) -> None:
        """The state is gone, as after WorkDays."""
        del self.results.states["r1", STATE]


def test_a_run_is_opened_once() -> None:
    """The first hop reads the file, later ones what it stored; the ledger says when that was."""
    world = World()
    assert world.open() == world.open(begun=True)
    assert world.shelf.asked == ["audience"]
    run = world.ledger.read_run("r1")
    assert run is not None
    assert run.opened_at_ms == 5_000


def test_a_run_whose_state_is_gone_is_not_opened_again() -> None:
    """Its audience may be another by now: the run fails by name, though it has sent nothing yet."""
    world = World()
    world.open()
    world.expire()
    with pytest.raises(NotAdmitted, match=r"^state_gone: "):
        world.open()
    assert world.shelf.asked == ["audience"]


def test_a_run_of_the_release_before_whose_state_is_gone() -> None:
    """That release noted no opening: what its claims settled, or may have sent, says that there was one."""
    with pytest.raises(NotAdmitted) as raised:
        World().open(begun=True)
    assert str(raised.value) == STATE_GONE


def test_killed_between_the_state_and_the_note() -> None:
    """The next hop finds the state, notes the opening, and asks the file for nothing."""
    world = World()
    world.open()
    world.ledger = MemoryLedger(lambda: 6.0)
    world.ledger.open_run(RUN)
    world.open()
    run = world.ledger.read_run("r1")
    assert run is not None
    assert run.opened_at_ms == 6_000
    assert world.shelf.asked == ["audience"]


@pytest.mark.parametrize(
    ("lane", "begun"),
    [
        (Lane("r1"), False),
        (Lane("r1", epoch=3, hop=3, idle_claims=3), False),
        (Lane("r1", cursor=Cursor(record=500)), True),
        (Lane("r1", cursor=Cursor(round=1)), True),
        (Lane("r1", suspects=(UnfinishedClaim(1, 8),)), True),
    ],
)
def test_what_says_that_a_run_has_begun(lane: Lane, begun: bool) -> None:
    """Anything settled, or a dead claim with batches in the ledger; claims that did nothing prove nothing."""
    assert lane.has_begun is begun


def test_a_text_that_no_record_can_fill_in_is_refused_before_anything_is_sent() -> None:
    """A word without its quotes is taken for an attribute; the run does not begin, and says where."""
    world = World()
    world.shelf.campaign = {"id": "c", "message": {"title": "t", "body": "Hi {{ first_name | default: there }}"}}
    with pytest.raises(NotAdmitted, match=r"campaign\.message\.body: `there` is no attribute of anybody"):
        world.open()


NOBODY: list[tuple[list[list[Any]], str]] = [
    ([[]], "no_users: the audience is empty, there is nobody to send to"),
    ([[], []], "no_users: the audience is empty, there is nobody to send to"),
    (
        [[{"user_id": "a"}], [{"user_id": "b"}, {"id": 7}]],
        "no_valid_device: none of the 3 records can be sent to: token: missing (record 0); user_id: missing (record 2)",
    ),
    (
        [[{"user_id": "a", "devices": [{"platform": "ios"}]}]],
        "no_valid_device: none of the 1 records can be sent to: token: missing (record 0)",
    ),
    ([[BrokenRecord("not JSON")] * 99], "no_valid_device: none of the 99 records can be sent to: not JSON (record 0)"),
    ([[7] * 100], "wrong file: 100% of the first 100 records are broken: not an object (record 0)"),
    ([users(700) + [7] * 5000], "wrong file: 30% of the first 1000 records are broken: not an object (record 700)"),
]


@pytest.mark.parametrize(("parts", "reason"), NOBODY)
def test_an_audience_that_nobody_can_be_reached_by_is_refused(parts: list[list[Any]], reason: str) -> None:
    """However small it is: a run of it would be completed without having done anything. The first reasons are named."""
    world = World()
    world.shelf.parts = parts
    with pytest.raises(NotAdmitted) as refused:
        world.open()
    assert str(refused.value) == reason
    assert world.results.get_state("r1", STATE) is None


def test_one_device_is_enough() -> None:
    """A small file is not refused for the records that are broken in it."""
    world = World()
    world.shelf.parts = [[7] * 60, [], [7] * 30 + users(1)]
    assert world.open().parts
