"""Opening a run: once, from what its file says then, and never again."""

from contextlib import nullcontext
from typing import Any

import msgspec
import pytest

from notifier.lifecycle.admission import Admission
from notifier.lifecycle.admitted import STATE, STATE_GONE, AdmittedCampaign, NotAdmitted, StillPreparing
from notifier.model.caps import NO_DEFAULTS, Cap, CapDefaults, RunCaps
from notifier.model.cursor import Cursor
from notifier.model.holdout import Holdout
from notifier.model.kept_days import KeptDays
from notifier.model.preparation import PreparationState
from notifier.model.quiet_hours import Quiet
from notifier.model.run import Lane, Run, UnfinishedClaim, source_of
from notifier.model.spelling import BrokenRecord
from tests.twins.hop_factory import users
from tests.twins.ledger import MemoryLedger
from tests.twins.library import MemoryLibrary
from tests.twins.settlements import MemoryResults

RUN = Run("r1", source_of("drop", "batches/a.json", "v1", "e1"), 7)


class World:
    """A ledger, a store and a file."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger(lambda: 5.0)
        self.ledger.open_run(RUN)
        self.results = MemoryResults()
        self.library = MemoryLibrary()
        self.may_prepare = self.may_run_sql = True
        self.holdout = Holdout(500)
        self.defaults: CapDefaults | ValueError = NO_DEFAULTS
        self.is_decided = False
        self.kept: KeptDays | None = None
        """For how long files are kept; None where nobody may ask."""

    def _cap_defaults(self) -> CapDefaults:
        if isinstance(self.defaults, ValueError):
            raise self.defaults
        return self.defaults

    def _kept_days(self) -> KeptDays:
        assert self.kept is not None, "only a campaign that says when it begins needs this"
        return self.kept

    def open(self, *, begun: bool = False) -> AdmittedCampaign:
        """One hop's opening."""
        opening = Admission(
            self.library,
            self.results,
            self.ledger,
            lambda _: (),
            rehearse=False,
            may_prepare=self.may_prepare,
            may_run_sql=self.may_run_sql,
            holdout=self.holdout,
            cap_defaults=self._cap_defaults,
            is_decided=lambda _: self.is_decided,
            kept=self._kept_days,
        )
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
    assert world.library.asked == ["audience"]
    run = world.ledger.read_run("r1")
    assert run is not None
    assert run.opened_at_ms == 5_000


def test_the_holdout_of_the_moment_when_it_begins() -> None:
    """Share and version are stored with the campaign: another setting is for the runs after it."""
    world = World()
    assert world.open().holdout == Holdout(500, "1")
    world.holdout = Holdout(100, "2")
    assert world.open(begun=True).holdout == Holdout(500, "1")


@pytest.mark.parametrize("members", [{"test": True}, {"essential": True}])
def test_nobody_is_held_out_of_tests_and_essential_campaigns(members: dict[str, Any]) -> None:
    """They reach everybody in their file."""
    world = World()
    world.library.campaign = {"id": "c", "message": {"title": "t", "body": "b"}, **members}
    assert world.open().holdout == Holdout(0)


PLAIN: dict[str, Any] = {"id": "c", "message": {"title": "t", "body": "b"}}
WINNER = {
    "variants": [{"name": "a", "percent": 90}], "control_percent": 10, "goal": {"name": "opened", "window_h": 24},
    "winner": {"test_percent": 20, "decide_after_h": 24, "decide_by_h": 48},
}  # fmt: skip


DAY_MS = 86_400_000


@pytest.mark.parametrize(
    "start",
    [
        {"not_before": "1970-01-10T00:00:00Z"},
        {"local_time": {"at": "18:00", "fallback_timezone": "Europe/London", "date": "1970-01-10"}},
    ],
)
def test_a_start_that_is_later_than_the_files_are_kept(start: dict[str, Any]) -> None:
    """It would be cancelled before it begins: refused at once. By the time of the file, however late it is opened."""
    world = World()
    world.library.campaign = PLAIN | start
    world.kept = KeptDays(batch_files=10)
    with pytest.raises(NotAdmitted, match=r"^broken campaign: .*kept \(BatchFileDays: 10 days\).* raise BatchFileDays"):
        world.open()
    assert world.library.asked == []
    for kept, created_at_ms in ((KeptDays(batch_files=12), 7), (KeptDays(batch_files=10), 2 * DAY_MS)):
        world.kept, world.ledger = kept, MemoryLedger(lambda: 5.0)
        world.ledger.open_run(msgspec.structs.replace(RUN, created_at_ms=created_at_ms))
        # Local times are prepared first: then it is admitted.
        with pytest.raises(StillPreparing) if "local_time" in start else nullcontext():
            world.open()


def test_the_decision_on_a_winner_is_entered_before_anything_is_sent() -> None:
    """Due when it may be decided at the earliest; none for the remainder's own run, and none for a rehearsal."""
    world = World()
    world.library.campaign = PLAIN | WINNER
    world.open()
    assert world.ledger.decisions == {"r1": 5_000 + 24 * 3_600_000}
    for more in ({"remainder_of": "r0"}, {"dry_run": True}):
        other = World()
        other.library.campaign = PLAIN | WINNER | more
        other.open()
        assert other.ledger.decisions == {}


def test_the_users_in_a_file_with_a_winner_are_prepared() -> None:
    """So that the remainder's run can name them."""
    world = World()
    world.library.campaign = PLAIN | WINNER
    world.library.audience = None  # type: ignore[assignment]
    with pytest.raises(StillPreparing):
        world.open()
    assert '"in_batch_file":true' in world.ledger.preparations["r1"].request


def test_a_run_whose_state_is_gone_is_not_opened_again() -> None:
    """Its audience may be another by now: the run fails by name, though it has sent nothing yet."""
    world = World()
    world.open()
    world.expire()
    with pytest.raises(NotAdmitted, match=r"^state_gone: "):
        world.open()
    assert world.library.asked == ["audience"]


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
    assert world.library.asked == ["audience"]


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
    world.library.campaign = {"id": "c", "message": {"title": "t", "body": "Hi {{ first_name | default: there }}"}}
    with pytest.raises(NotAdmitted, match=r"campaign\.message\.body: `there` is no attribute of anybody"):
        world.open()


NOBODY: list[tuple[list[list[Any]], str]] = [
    ([[]], "no_users: the audience is empty, there is nobody to send to"),
    ([[], []], "no_users: the audience is empty, there is nobody to send to"),
    (
        [[{"user_id": "a"}], [{"user_id": "b"}, {"id": 7}]],
        "no_valid_device: of 3 records none can be sent to: token: missing (record 0); user_id: missing (record 2)",
    ),
    (
        [[{"user_id": "a", "devices": [{"platform": "ios"}]}]],
        "no_valid_device: of 1 record none can be sent to: token: missing (record 0)",
    ),
    ([[BrokenRecord("not JSON")] * 99], "no_valid_device: of 99 records none can be sent to: not JSON (record 0)"),
    ([[7] * 100], "wrong file: 100% of the first 100 records are broken: not an object (record 0)"),
    ([users(700) + [7] * 5000], "wrong file: 30% of the first 1000 records are broken: not an object (record 700)"),
]


@pytest.mark.parametrize(("parts", "reason"), NOBODY)
def test_an_audience_that_nobody_can_be_reached_by_is_refused(parts: list[list[Any]], reason: str) -> None:
    """However small it is: a run of it would be completed without having done anything. The first reasons are named."""
    world = World()
    world.library.parts = parts
    with pytest.raises(NotAdmitted) as refused:
        world.open()
    assert str(refused.value) == reason
    assert world.results.get_state("r1", STATE) is None


def test_one_device_is_enough() -> None:
    """A small file is not refused for the records that are broken in it."""
    world = World()
    world.library.parts = [[7] * 60, [], [7] * 30 + users(1)]
    assert world.open().parts


def ended(world: World, state: PreparationState, **members: Any) -> None:
    """The audience function has come to an end."""
    found = world.ledger.preparations["r1"]
    world.ledger.preparations["r1"] = msgspec.structs.replace(found, state=state, **members)


def test_an_audience_is_prepared_before_the_id_is_taken() -> None:
    """Named, then prepared, then judged, then taken: each claim until then finds it under way."""
    world = World()
    world.library.audience = {"files": ["audiences/x/"]}
    for _ in range(2):
        with pytest.raises(StillPreparing, match=r"^preparing: "):
            world.open()
    run = world.ledger.read_run("r1")
    assert run is not None
    assert (run.campaign_id, run.opened_at_ms) == ("c", None)
    assert world.ledger.take_campaign("c", "another", again=False), "the id is free meanwhile"
    world.ledger = MemoryLedger(lambda: 5.0)
    world.ledger.open_run(RUN)
    with pytest.raises(StillPreparing):
        world.open()
    ended(world, PreparationState.PREPARED, manifest="audiences/prepared/x/_manifest.json")
    admitted = world.open()
    assert [part.key for part in admitted.parts] == ["audiences/prepared/x/attempt=1/part-00000.jsonl"]
    assert world.library.asked == ["audiences/prepared/x/_manifest.json"]
    assert world.ledger.preparations["r1"].due_at_ms is None, "the worker has seen it"
    assert not world.ledger.take_campaign("c", "another", again=False)


def test_a_preparation_that_failed_fails_the_run() -> None:
    """With its reason; the id stays free for the mended file."""
    world = World()
    world.library.audience = {"query": {"name": "follows-brands"}}
    with pytest.raises(StillPreparing):
        world.open()
    ended(world, PreparationState.FAILED, reason="queries/follows-brands.sql, line 3: no column `brand`")
    with pytest.raises(NotAdmitted, match=r"^audience: queries/follows-brands\.sql, line 3"):
        world.open()
    assert world.ledger.take_campaign("c", "another", again=False)


@pytest.mark.parametrize(
    ("may_prepare", "may_run_sql", "audience", "reason"),
    [
        (False, True, {"files": ["a/"]}, "this stack prepares no audiences"),
        (True, False, {"any": [{"sql": "SELECT 1"}]}, "stored queries only"),
        (True, True, {"files": ["a/"], "sql": "SELECT 1"}, "broken audience: audience: has files and sql"),
    ],
)
def test_what_is_never_prepared(may_prepare: bool, may_run_sql: bool, audience: dict[str, Any], reason: str) -> None:
    """Nothing is asked of the audience function."""
    world = World()
    world.may_prepare, world.may_run_sql, world.library.audience = may_prepare, may_run_sql, audience
    with pytest.raises(NotAdmitted, match=reason):
        world.open()
    assert world.ledger.preparations == {}


CAP = {"group": "marketing", "most": 3, "days": 7}
LONDON = CapDefaults((), "Europe/London")
THREE_A_WEEK = CapDefaults((Cap("marketing", 3, 7),), "Europe/London")


def test_caps_of_the_moment_when_it_begins() -> None:
    """A run is judged by, and counted in, what was set when it began; the ledger knows what counts it."""
    world = World()
    world.defaults = LONDON
    world.library.campaign = PLAIN | {"groups": ["sales"]}
    assert world.open().caps == RunCaps(("sales",), (), "Europe/London")
    world.defaults = THREE_A_WEEK
    assert world.open(begun=True).caps == RunCaps(("sales",), (), "Europe/London")
    run = world.ledger.read_run("r1")
    assert run is not None
    assert run.counted_by == "rows"


@pytest.mark.parametrize(
    ("campaign", "defaults"), [({}, THREE_A_WEEK), ({"caps": [CAP]}, LONDON)], ids=["the stack's", "the file's"]
)
def test_a_plain_file_with_caps_is_prepared(campaign: dict[str, Any], defaults: CapDefaults) -> None:
    """Only a final cut can judge them. Without any the file is sent as it is."""
    world = World()
    world.defaults = defaults
    world.library.campaign = PLAIN | campaign
    with pytest.raises(StillPreparing):
        world.open()
    prepared = msgspec.structs.replace(
        world.ledger.preparations["r1"], state=PreparationState.PREPARED, manifest="audiences/prepared/x/m"
    )
    world.ledger.preparations["r1"] = prepared
    assert world.open().caps == RunCaps(("marketing",), (Cap("marketing", 3, 7),), "Europe/London")
    run = world.ledger.read_run("r1")
    assert run is not None
    assert run.counted_by == "cut"


@pytest.mark.parametrize("members", [{"test": True}, {"dry_run": True}, {"essential": True}])
def test_what_does_not_count(members: dict[str, Any]) -> None:
    """Tests, rehearsals and essential campaigns cap nobody."""
    world = World()
    world.defaults = LONDON
    world.library.campaign = PLAIN | members
    assert world.open().caps.groups == ()
    run = world.ledger.read_run("r1")
    assert run is not None
    assert run.counted_by == ""


@pytest.mark.parametrize("looser", [{"essential": True}, {"groups": ["x"]}, {"caps": [CAP | {"most": 4}]}])
def test_looser_caps_need_an_approval(looser: dict[str, Any]) -> None:
    """Without one the file is refused; with one it begins."""
    world = World()
    world.defaults = THREE_A_WEEK
    world.library.campaign = PLAIN | looser
    with pytest.raises(NotAdmitted, match=r"^not_approved: campaign\..* 3 of marketing in 7 days"):
        world.open()
    world.is_decided = True
    if "caps" in looser:
        with pytest.raises(StillPreparing):
            world.open()
    else:
        world.open()


@pytest.mark.parametrize(
    ("quiet", "why"),
    [
        (
            {"from": "21:00", "to": "08:00", "ttl": "keep"},
            r"campaign\.quiet\.ttl is keep: phones that were off may ring",
        ),
        (None, r"campaign\.quiet lifts the stack's quiet hours"),
    ],
)
def test_louder_quiet_hours_need_an_approval(quiet: dict[str, str] | None, why: str) -> None:
    """Without one the file is refused, and says what of it needs one; with one it is prepared, or begins."""
    world = World()
    world.defaults = CapDefaults((), "Europe/London", Quiet("21:00", "08:00"))
    world.library.campaign = PLAIN | {"quiet": quiet}
    with pytest.raises(NotAdmitted, match=f"^not_approved: {why}.*Only approvers allow that"):
        world.open()
    world.is_decided = True
    if quiet is None:
        assert world.open().quiet is None
    else:
        with pytest.raises(StillPreparing):
            world.open()


def test_caps_need_the_stacks_time_zone() -> None:
    """And what is set wrongly is named."""
    world = World()
    world.library.campaign = PLAIN | {"caps": [CAP]}
    with pytest.raises(NotAdmitted, match=r"^campaign.caps: .*DefaultTimezone"):
        world.open()
    world.defaults = ValueError("DefaultCaps is 'x': expected caps like marketing:3/7")
    with pytest.raises(NotAdmitted, match=r"^settings: DefaultCaps is 'x'"):
        world.open()
