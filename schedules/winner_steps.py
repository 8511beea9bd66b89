"""Decisions on the winners of tests, a step at a time, and the runs over the remainders that follow from them.

A step reads, and ends with one conditional write. It may be killed before or after any of its writes, made twice, or
made with a clock that was set back: the test has one decision, and the remainder one run or none.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from notifier.decision_items import DecisionItem, DecisionState
from notifier.model.campaign import CONTROL, Audience, Campaign, Part
from notifier.model.run import Ending
from schedules.winner import Decision, How, decided, otherwise, remainder_campaign
from schedules.winner_store import DecisionStore

PREFIX = "batches/remainders/"
_encoder = msgspec.json.Encoder(decimal_format="number")
AGAIN_MS, COUNT_AGAIN_MS, HOUR_MS = 60_000, 15 * 60_000, 3_600_000


class Undecidable(ValueError):
    """It cannot be done; the message says why, and what can."""


class TestRun(msgspec.Struct, frozen=True):
    """A test as it was sent: `state/run_id=R/campaign.json`, and how far its run is.

    Attributes:
        ending: how its run ended; "" while it goes on.
        is_asked: every user was asked for once, as far as they will be.
        approved_by: who approved it; "" for nobody.
        request_id: of the approval pages; "" where it did not come from there.
    """

    __test__ = False  # for pytest, which takes the name for a test's

    campaign: Campaign
    parts: tuple[Part, ...]
    ending: str
    is_asked: bool
    dry_run: bool
    approved_by: str
    request_id: str = ""


class Counts(msgspec.Struct, frozen=True):
    """Counted conversions of a test: `audiences.run_conversions` writes them. Times: seconds since the epoch.

    `changed` says why their source is another one than the test's approval covers.
    """

    figures: Mapping[str, tuple[int, int]] = {}
    last_at_s: float = 0.0
    through_s: float | None = None
    fault: str = ""
    changed: str = ""


class Tests(Protocol):
    """What a decision needs of the rest of the stack: the test's run, counted conversions, batch files."""

    def test(self, run_id: str) -> TestRun | None:
        """The test; None where what it began with is gone."""
        ...

    def ask_for_counts(self, run_id: str, after_h: int) -> str:
        """Have its conversions counted. Returns the count's id."""
        ...

    def counts(self, count: str) -> Counts | None:
        """What was counted; None while it is under way."""
        ...

    def write_remainder(self, key: str, body: bytes, sha256_hex: str, approved_by: str) -> str:
        """Write the remainder's batch file, once, after its approval where there is one. Returns the run's id."""
        ...

    def remainder(self, key: str) -> str:
        """The id of the run of a remainder's batch file that is written; "" where none is."""
        ...


class Winners:
    """Takes decisions further.

    Args:
        now: seconds since the epoch.
        log: is given what happened, and about what.
        held: why nothing may be decided, or "".
        mail: has a decision mailed; it may be given the same one twice.
    """

    def __init__(
        self,
        store: DecisionStore,
        tests: Tests,
        now: Callable[[], float],
        log: Callable[..., object] = lambda *_args, **_about: None,
        held: Callable[[], str] = lambda: "",
        mail: Callable[[dict[str, Any]], object] = lambda _decision: None,
    ) -> None:
        self._store = store
        self._mail = mail
        self._tests = tests
        self._now = now
        self._log = log
        self._held = held

    def run(self) -> dict[str, int]:
        """One tick. Each decision is looked at by itself: one that fails keeps no other waiting."""
        counts = {"decisions": 0, "undecided": 0}
        for one in list(self._store.due(int(self._now() * 1000))):
            if self._held():
                return counts
            try:
                self.step(one)
                counts["decisions"] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is: the next one is due all the same
                counts["undecided"] += 1
                reason = f"the next tick looks at it again: {error}"
                self._log("trouble", alarms=True, reason=reason, run_id=one.run_id)
        return counts

    def carry_out(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What a person decides: `{"run_id", "arm", "by"}`. Raises Undecidable."""
        if not event.get("by"):
            raise Undecidable("nobody is named who decides: give `by`")
        if held := self._held():
            raise Undecidable(f"{held}. Nothing is decided before it is released (notifier release)")
        after = self.by_person(str(event.get("run_id", "")), str(event.get("arm", "")), str(event["by"]))
        return {"run_id": after.run_id, "arm": after.arm, "words": after.words}

    def step(self, one: DecisionItem) -> DecisionItem:
        """Take a decision a step further, and write it down. Returns it as it is then."""
        test = self._tests.test(one.run_id)
        if one.state is DecisionState.DECIDED:
            after = self._send(one, test)
        elif test is None:
            after = _over(one, "what the test began with (under state/) is gone: nothing goes to the remainder")
        else:
            after = self._wait(one, test)
        if not self._store.change(one, after):
            return one
        if after.state is not one.state:
            # A person has to decide, or nothing is sent although there is a winner.
            alarms = after.state is DecisionState.STOPPED or (
                one.arm != after.arm and after.state is DecisionState.OVER
            )
            self._log(
                "decision", alarms=alarms, run_id=after.run_id, state=after.state.value, arm=after.arm,
                reason=after.words, remainder=after.remainder,
            )  # fmt: skip
        return after

    def by_person(self, run_id: str, arm: str, by: str) -> DecisionItem:
        """A person decides: before the hour, or where nothing else does. Raises Undecidable."""
        one, test = self._store.read(run_id), self._tests.test(run_id)
        if one is None or test is None:
            raise Undecidable(f"run {run_id} is no test whose winner is to be decided")
        arms = [name for name, _ in test.campaign.arms]
        if arm != CONTROL and arm not in arms:
            raise Undecidable(f"{arm} is no arm of this test: {', '.join(dict.fromkeys((*arms, CONTROL)))}")
        if not one.is_open:
            raise Undecidable(f"it is decided already: {one.arm or CONTROL}, {one.words}")
        if not test.is_asked:
            raise Undecidable("the test is still being sent: decide when it is over")
        if arm != CONTROL and (why := self._why_nothing_goes(test)):
            raise Undecidable(f"{why}: nothing goes to the remainder")
        after = self._decided(one, Decision(arm, How.PERSON, f"decided by {by}", one.figures), by)
        if not self._store.change(one, after):
            raise Undecidable("it was decided, or looked at, in this moment: try again")
        return after

    # -- before the decision ------------------------------------------------------------------------------------------

    def _wait(self, one: DecisionItem, test: TestRun) -> DecisionItem:
        winner = test.campaign.winner
        assert winner is not None
        if one.state is DecisionState.STOPPED:
            self._say(one, test)
            return replace(one, due_at_ms=0)
        if why := _why_no_test(test):
            return _over(one, f"{why}: nothing goes to the remainder")
        if not test.is_asked:
            return self._later(one, COUNT_AGAIN_MS, "the test is being sent")
        if not one.count:
            return replace(
                self._later(one, AGAIN_MS, "conversions are counted"),
                count=self._tests.ask_for_counts(one.run_id, winner.decide_after_h),
            )
        counts = self._tests.counts(one.count)
        if counts is None:
            return self._later(one, AGAIN_MS, "conversions are counted")
        return self._with(one, test, counts)

    def _with(self, one: DecisionItem, test: TestRun, counts: Counts) -> DecisionItem:
        """With counted conversions, or with why they cannot be counted."""
        winner = test.campaign.winner
        assert winner is not None
        now_ms = int(self._now() * 1000)
        if counts.last_at_s:
            last_ms = int(counts.last_at_s * 1000)
            one = replace(
                one,
                decide_at_ms=last_ms + winner.decide_after_h * HOUR_MS,
                decide_by_ms=last_ms + winner.decide_by_h * HOUR_MS,
                # An edited source could make any arm the best one: its figures decide nothing, not for `best` either.
                figures=one.figures if counts.changed else counts.figures,
            )
        if not one.decide_by_ms:
            # Never counted yet: by when the test was over at the latest, which is now.
            one = replace(one, decide_by_ms=now_ms + winner.decide_by_h * HOUR_MS)
        if not counts.fault and now_ms < one.decide_at_ms:
            return replace(one, count="", due_at_ms=one.decide_at_ms, words="the hour of the decision has not come")
        why = counts.fault or counts.changed
        if not why and counts.through_s is not None and counts.through_s * 1000 >= one.decide_at_ms:
            return self._decided(one, decided(test.campaign, counts.figures))
        why = why or "conversions are not complete through the hour of the decision"
        if now_ms >= one.decide_by_ms:
            return self._decided(one, otherwise(test.campaign, one.figures, why))
        later = self._later(one, min(COUNT_AGAIN_MS, one.decide_by_ms - now_ms), why)
        return replace(later, count="")

    def _decided(self, one: DecisionItem, decision: Decision, by: str = "") -> DecisionItem:
        now_ms = int(self._now() * 1000)
        state = DecisionState.DECIDED if decision.arm else DecisionState.STOPPED
        return replace(
            one,
            state=state,
            due_at_ms=now_ms,  # the next step mails it, and does what follows
            arm=decision.arm,
            how=decision.how.value,
            words=decision.words,
            figures=decision.figures,
            by=by,
            decided_at_ms=now_ms if decision.arm else 0,
        )

    def _later(self, one: DecisionItem, in_ms: int, words: str) -> DecisionItem:
        return replace(one, due_at_ms=int(self._now() * 1000) + max(in_ms, 1), words=words)

    def _say(self, one: DecisionItem, test: TestRun) -> None:
        """Have the decision mailed: before the write that ends the step, so that it is said at least once."""
        figures = [f"{arm}: {n:,} of {users:,} converted" for arm, (users, n) in one.figures.items()]
        self._mail(
            {
                "winner": one.run_id, "campaign": test.campaign.id, "arm": one.arm, "words": one.words,
                "figures": figures, "by": one.by, "request_id": test.request_id,
            }
        )  # fmt: skip

    # -- after it -----------------------------------------------------------------------------------------------------

    def _send(self, one: DecisionItem, test: TestRun | None) -> DecisionItem:
        """What follows from a decision: the remainder's run. Its bytes depend on the test and the arm alone."""
        # After the decision the test may have been cancelled, and there is no way back from a push.
        why = self._why_nothing_goes(test) if test is not None else "what the test began with is gone"
        key = f"{PREFIX}{one.run_id}.json"
        sent = ""
        if why and one.arm != CONTROL:
            # It may be sent all the same: by a tick that was killed before it could note that.
            sent = self._tests.remainder(key)
            one = one if sent else _to_nothing(one, why)
        if test is not None:
            self._say(one, test)
        if sent:
            return _sent(one, sent)
        if test is None or one.arm == CONTROL:
            return replace(one, state=DecisionState.OVER, due_at_ms=0)
        body = batch_file(remainder_campaign(test.campaign, one.run_id, one.arm), test.parts)
        approved_by = f"{test.approved_by}, for the test {one.run_id}" if test.approved_by else ""
        run_id = self._tests.write_remainder(key, body, sha256(body).hexdigest(), approved_by)
        return _sent(one, run_id)

    def _why_nothing_goes(self, test: TestRun) -> str:
        """Why nothing may go to the remainder of a test, whoever decides; "" for nothing."""
        until = test.campaign.abort_after
        if until is not None and until.timestamp() <= self._now():
            # "Nothing is sent from then on": a run over the remainder would end at its first look at the clock.
            return f"the campaign's abort_after ({until.isoformat()}) has passed"
        return _why_no_test(test)


def _why_no_test(test: TestRun) -> str:
    """Why a run is no test by which anything is decided; "" for nothing."""
    if test.dry_run:
        return "it was a dry run, and nobody got the test"
    if test.ending not in ("", Ending.COMPLETED.value):
        return f"the test was {test.ending}"
    return ""


def batch_file(campaign: Campaign, parts: tuple[Part, ...]) -> bytes:
    """The bytes of a remainder's batch file. Equal input gives equal bytes."""
    return _encoder.encode({"campaign": campaign, "audience": Audience(parts)})


def _over(one: DecisionItem, words: str) -> DecisionItem:
    return replace(one, state=DecisionState.OVER, due_at_ms=0, words=words)


def _sent(one: DecisionItem, run_id: str) -> DecisionItem:
    return replace(one, state=DecisionState.SENT, due_at_ms=0, remainder=run_id)


def _to_nothing(one: DecisionItem, why: str) -> DecisionItem:
    """A winner that is not sent all the same. What was decided, and by whom, is in its words."""
    words = f"{one.arm} ({one.words}), but {why}: nothing went to the remainder"
    return replace(_over(one, words), arm=CONTROL, by="")
