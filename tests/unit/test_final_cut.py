"""The worker's part of the final cut: when it is asked for, what every hop uses of it, and who is counted once."""

from typing import Any

import msgspec
import pytest

from notifier.lifecycle.admitted import AdmittedCampaign, NotAdmitted, StillPreparing
from notifier.lifecycle.final_cut import FinalCut, with_cut
from notifier.model.account import Account
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign_reading import read_campaign
from notifier.model.cursor import Cursor
from notifier.model.cut import CutParts, Window
from notifier.model.preparation import ManifestPart, PreparationState, Stage
from notifier.model.run import Lane, Run, source_of
from tests.twins.ledger import MemoryLedger
from tests.twins.library import MemoryLibrary
from tests.twins.settlements import MemoryResults

RUN = Run("r1", source_of("drop", "batches/a.json", "v1", "e1"), 7)
PART = ManifestPart("b", "audiences/cut/run_id=r1/attempt=1/window=000/part-00000.jsonl", "e", 9, 2, "v")
CUT = CutParts(1, (PART,), (Window(0, 0, 1, 2),), {"suppressed": 3, "exclude": 1})
LIST = PinnedObject("b", "lists/x.json", None, "e", 5)


class World:
    """A run over a prepared audience, at a time."""

    def __init__(self, **campaign: Any) -> None:
        self.now = 1_000.0
        self.ledger = MemoryLedger(lambda: self.now)
        self.ledger.open_run(RUN)
        self.results = MemoryResults()
        self.library = MemoryLibrary(CUT)
        read = read_campaign({"id": "c", "message": {"title": "t"}, **campaign})
        part = PinnedObject("b", "audiences/prepared/x/attempt=1/part-00000.jsonl", "v", "e", 1)
        self.admitted = AdmittedCampaign(read, (part,), False, (LIST,), False, prepared="audiences/prepared/x/m")

    def of(self, *, begun: bool = False) -> AdmittedCampaign:
        """What a hop is given."""
        return FinalCut(self.library, self.results, self.ledger, lambda: self.now).of(RUN, self.admitted, begun=begun)

    def prepare(self) -> None:
        """The audience is prepared, and the worker has seen it."""
        self.ledger.ask_for_preparation("r1", "{}", "b")
        self.end(PreparationState.PREPARED, manifest="audiences/prepared/x/m")
        self.ledger.end_preparation("r1")

    def end(self, state: PreparationState, **members: Any) -> None:
        """The audience function has come to an end."""
        found = self.ledger.preparations["r1"]
        self.ledger.preparations["r1"] = msgspec.structs.replace(found, state=state, **members)


def test_it_is_made_when_the_run_begins() -> None:
    """Not before `not_before`: until then nothing is asked; then once, and every later hop uses what was stored."""
    world = World(not_before="1970-01-01T01:00:00Z")
    world.prepare()
    with pytest.raises(StillPreparing) as early:
        world.of()
    assert early.value.due_at_ms == 3_600_000
    assert world.ledger.preparations["r1"].stage is Stage.PREPARE
    world.now = 3_600.0
    for _ in range(2):
        with pytest.raises(StillPreparing, match=r"^preparing: .*final cut") as asked:
            world.of()
        assert asked.value.due_at_ms is None
    world.end(PreparationState.PREPARED, manifest="audiences/cut/run_id=r1/_manifest.json")
    for begun in (False, True):
        found = world.of(begun=begun)
        assert (found.parts, found.exclude, found.excluded_by) == ((PART.pinned,), (), CUT.excluded_by)
    assert world.library.asked == ["audiences/cut/run_id=r1/_manifest.json"]
    assert world.ledger.preparations["r1"].due_at_ms is None, "the worker has seen it"


def test_plain_files_are_not_cut() -> None:
    """They begin at once, and the worker leaves out who is on a list."""
    world = World()
    world.admitted = msgspec.structs.replace(world.admitted, prepared="")
    assert world.of() is world.admitted
    assert world.ledger.preparations == {}


def test_a_cut_that_failed_fails_the_run() -> None:
    """With its reason."""
    world = World()
    world.prepare()
    with pytest.raises(StillPreparing):
        world.of()
    world.end(PreparationState.FAILED, reason="s3://b/lists/x.json: damaged")
    with pytest.raises(NotAdmitted, match=r"^final cut: s3://b/lists/x.json: damaged"):
        world.of()


def test_a_run_that_was_sent_to_is_never_cut_again() -> None:
    """Its records are those of the cut that is gone."""
    world = World()
    world.prepare()
    with pytest.raises(NotAdmitted, match=r"^state_gone"):
        world.of(begun=True)


@pytest.mark.parametrize(
    ("lane", "counted"),
    [
        (Lane("r1"), True),
        (Lane("r1", lane=1), False),
        (Lane("r1", cursor=Cursor(record=500)), False),
        (Lane("r1", account=Account(users=4)), False),
    ],
    ids=["first claim", "another lane", "settled batches", "counted already"],
)
def test_those_left_out_are_counted_once(lane: Lane, counted: bool) -> None:
    """By the first lane, before it has counted anything else; the sum of the reasons is `excluded`."""
    admitted = msgspec.structs.replace(World().admitted, excluded_by=CUT.excluded_by)
    before = msgspec.json.encode(lane.account)
    account = with_cut(lane, admitted).account
    assert msgspec.json.encode(lane.account) == before
    if not counted:
        assert account is lane.account
        return
    assert (account.users, account.excluded, account.excluded_by) == (4, 4, CUT.excluded_by)
