"""What reached the gateways in a scenario, and whether the run's own account agrees with it."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from sandbox.faults.scenario import Scenario
from sandbox.gateways.counts import Figures
from sandbox.wire.actions import Action, Cut, Reply
from sandbox.wire.server import Behaviour, Seen

_APNS_PATH = "/3/device/"


class Reached(msgspec.Struct, frozen=True):
    """What the gateways counted, by tokens; `accepted_more` by answers, those beyond each token's first.

    Args:
        accepted: tokens accepted at least once; `accepted_again` of them more than once.
        asked_again: tokens that were asked for more than once.
    """

    accepted: int
    accepted_again: int
    asked_again: int
    requests: int
    accepted_more: int = 0


def reached_stand_ins(figures: Figures) -> Reached:
    """The stand-ins' own figures, over all gateways."""
    every = (figures.fcm, figures.apns, figures.apns_sandbox)
    return Reached(
        sum(one.accepted_tokens for one in every),
        sum(one.accepted_again_tokens for one in every),
        sum(one.repeated_tokens for one in every),
        sum(one.requests for one in every),
        sum(one.answers.get("200", 0) - one.accepted_tokens for one in every if not one.validate_only),
    )


class WireCount:
    """Counts for a misbehaving server. A request that it answers by 200 is accepted, even if the answer is lost."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._accepted: Counter[str] = Counter()
        self._asked: dict[str, Counter[str]] = {"fcm": Counter(), "apns": Counter()}
        self._requests = 0
        self._lock = threading.Lock()

    def __call__(self, seen: Seen) -> tuple[Action, ...]:
        """Behave as ordered, and count."""
        actions = self._behaviour(seen)
        with self._lock:
            self._requests += 1
            self._asked["apns" if seen.path.startswith(_APNS_PATH) else "fcm"][token_of(seen)] += 1
            if any(isinstance(action, Reply | Cut) and action.status == 200 for action in actions):
                self._accepted[token_of(seen)] += 1
        return actions

    def reached(self) -> Reached:
        """The counts so far. Repeating a request that was not processed is right: it does not count as asked again."""
        again = sum(n > 1 for n in self._accepted.values())
        more = self._accepted.total() - len(self._accepted)
        return Reached(len(self._accepted), again, again, self._requests, more)

    def gateways(self) -> dict[str, dict[str, int]]:
        """The counts in the form that a report has of the stand-ins."""
        return {
            name: {
                "requests": asked.total(),
                "distinct_tokens": len(asked),
                "repeated_tokens": sum(n > 1 for n in asked.values()),
                "accepted_tokens": sum(token in self._accepted for token in asked),
                "accepted_again_tokens": sum(self._accepted[token] > 1 for token in asked),
            }
            for name, asked in self._asked.items()
        }


def token_of(seen: Seen) -> str:
    """The token in a request, APNs' or FCM's."""
    if seen.path.startswith(_APNS_PATH):
        return seen.path.removeprefix(_APNS_PATH)
    token: str = msgspec.json.decode(seen.body)["message"]["token"]
    return token


class Tally(msgspec.Struct, frozen=True):
    """The rows of a run, counted without de-duplication: two rows of one device are a broken promise."""

    rows: int
    distinct: int
    outcomes: dict[str, int]
    asked_again: int


def tally(rows: Iterable[Mapping[str, Any]]) -> Tally:
    """Count rows."""
    seen: set[tuple[int, int]] = set()
    outcomes: Counter[str] = Counter()
    count = again = 0
    for row in rows:
        count += 1
        seen.add((row["record"], row["device"]))
        outcomes[row["outcome"]] += 1
        if row["attempts"] > 1:
            again += 1
    return Tally(count, len(seen), dict(outcomes), again)


def violations(scenario: Scenario, report: Mapping[str, Any], rows: Tally, reached: Reached) -> tuple[str, ...]:
    """Every promise that was broken, in words; none is what is expected."""
    checks = (
        *_account_checks(scenario, report, rows),
        *_repeat_checks(report, rows, reached),
        *_ending_checks(scenario, report),
    )
    return tuple(promise for promise, holds in checks if not holds)


def _account_checks(scenario: Scenario, report: Mapping[str, Any], rows: Tally) -> Iterator[tuple[str, bool]]:
    """The run's account adds up, and the rows say the same."""
    ours = _by_outcome(report)
    settled = sum(ours.values())
    # A run that stopped before a batch was settled has rows behind that batch, which its next claim counts.
    has_gap = scenario.status == "stopped" and report["unsettled"] > 0
    yield (
        f"devices {report['devices']} = {ours} + unsent {report['unsent']}",
        report["devices"] == settled + report["unsent"],
    )
    yield (
        f"rows {rows.rows} = distinct {rows.distinct} = devices settled {settled}",
        rows.rows == rows.distinct and (rows.rows == settled or (rows.rows > settled and has_gap)),
    )
    yield (
        f"rows say {rows.outcomes}, the account {ours}",
        has_gap or rows.outcomes == {name: n for name, n in ours.items() if n},
    )


def _repeat_checks(report: Mapping[str, Any], rows: Tally, reached: Reached) -> Iterator[tuple[str, bool]]:
    """No device got a push more often than the run reports, and none that it calls accepted got no push."""
    repeats, requests, unsettled = report["possibly_repeated"], report["repeat_requests"], report["unsettled"]
    accepted = report["outcomes"]["accepted"]
    yield (
        f"accepted twice by the gateways {reached.accepted_again} ≤ possibly repeated {repeats}",
        reached.accepted_again <= repeats,
    )
    yield (
        f"accepted again {reached.accepted_more} times ≤ repeat requests {requests}",
        reached.accepted_more <= requests,
    )
    yield (
        f"possibly repeated {repeats} ≤ devices {report['devices']} + unsettled {unsettled}",
        repeats <= report["devices"] + unsettled,
    )
    yield f"possibly repeated {repeats} ≤ repeat requests {requests}", repeats <= requests
    # A second request is a retry of an answered one, which its row counts, or it is reported as a possible repeat.
    yield (
        f"asked twice {reached.asked_again} ≤ possibly repeated {repeats} + retried {rows.asked_again}",
        reached.asked_again <= repeats + rows.asked_again,
    )
    # More is right: the answer to an accepted push may be lost for good.
    yield f"accepted by the gateways {reached.accepted} ≥ by our account {accepted}", reached.accepted >= accepted


def _ending_checks(scenario: Scenario, report: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The run ends as the scenario expects."""
    yield f"status {report['status']} is {scenario.status}", report["status"] == scenario.status
    yield f"hops {report['hops']} ≤ {scenario.max_hops}", report["hops"] <= scenario.max_hops
    if scenario.status != "completed":
        return
    ours = _by_outcome(report)
    yield "nothing unsent", report["unsent"] == 0
    yield f"rejected {ours['rejected']} = {scenario.rejected}", ours["rejected"] == scenario.rejected
    if scenario.all_accepted:
        yield f"failed {report['outcomes']['failed']}: none", ours["failed"] == 0


def _by_outcome(report: Mapping[str, Any]) -> dict[str, int]:
    """The devices of the account by outcome, reasons added up."""
    outcomes = report["outcomes"]
    return {
        "accepted": outcomes["accepted"],
        "rejected": sum(outcomes["rejected"].values()),
        "failed": sum(outcomes["failed"].values()),
        "held": outcomes["held"],
    }
