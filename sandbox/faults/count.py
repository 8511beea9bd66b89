"""What really reached the gateways in a scenario, and whether the run's own account agrees."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from sandbox.faults.scenario import Scenario
from sandbox.gateways.counts import Figures
from sandbox.wire.actions import Action, Cut, Reply
from sandbox.wire.server import Behaviour, Seen

_APNS_PATH = "/3/device/"


class Reached(msgspec.Struct, frozen=True):
    """What the other side counted: tokens accepted, accepted more than once, and asked for more than once.

    `accepted_more` counts the answers beyond each token's first.
    """

    accepted: int
    accepted_again: int
    asked_again: int
    requests: int
    accepted_more: int = 0


def reached_stand_ins(figures: Figures) -> Reached:
    """Over all gateways."""
    every = (figures.fcm, figures.apns, figures.apns_sandbox)
    return Reached(
        sum(one.accepted_tokens for one in every),
        sum(one.accepted_again_tokens for one in every),
        sum(one.repeated_tokens for one in every),
        sum(one.requests for one in every),
        sum(one.answers.get("200", 0) - one.accepted_tokens for one in every if not one.validate_only),
    )


class WireCount:
    """Counts what a misbehaving server has processed: every request that it means to answer by 200, heard or not."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._accepted: Counter[str] = Counter()
        self._asked: dict[str, Counter[str]] = {"fcm": Counter(), "apns": Counter()}
        self._requests = 0
        self._lock = threading.Lock()

    def __call__(self, seen: Seen) -> tuple[Action, ...]:
        """The behaviour, counted."""
        actions = self._behaviour(seen)
        with self._lock:
            self._requests += 1
            self._asked["apns" if seen.path.startswith(_APNS_PATH) else "fcm"][token_of(seen)] += 1
            if any(isinstance(action, Reply | Cut) and action.status == 200 for action in actions):
                self._accepted[token_of(seen)] += 1
        return actions

    def reached(self) -> Reached:
        """So far."""
        again = sum(1 for n in self._accepted.values() if n > 1)
        more = self._accepted.total() - len(self._accepted)
        return Reached(len(self._accepted), again, again, self._requests, more)

    def gateways(self) -> dict[str, dict[str, int]]:
        """What the stand-ins count for a report, as this server has it."""
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
    """The device that a request is for."""
    if seen.path.startswith(_APNS_PATH):
        return seen.path.removeprefix(_APNS_PATH)
    token: str = msgspec.json.decode(seen.body)["message"]["token"]
    return token


class Tally(msgspec.Struct, frozen=True):
    """The rows of a run, counted without removing anything."""

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
    outcomes = report["outcomes"]
    ours = {
        "accepted": outcomes["accepted"],
        "rejected": sum(outcomes["rejected"].values()),
        "failed": sum(outcomes["failed"].values()),
        "held": outcomes["held"],
    }
    settled = sum(ours.values())
    repeats, requests, unsettled = report["possibly_repeated"], report["repeat_requests"], report["unsettled"]
    # A run that stopped before a batch was settled has rows behind that batch, which its next claim counts.
    has_gap = scenario.status == "stopped" and unsettled > 0
    checks = {
        f"devices {report['devices']} = {ours} + unsent {report['unsent']}": (
            report["devices"] == settled + report["unsent"]
        ),
        f"rows {rows.rows} = distinct {rows.distinct} = devices settled {settled}": (
            rows.rows == rows.distinct and (rows.rows == settled or (rows.rows > settled and has_gap))
        ),
        f"rows say {rows.outcomes}, the account {ours}": (
            has_gap or rows.outcomes == {name: n for name, n in ours.items() if n}
        ),
        f"accepted twice by the gateways {reached.accepted_again} ≤ possibly repeated {repeats}": (
            reached.accepted_again <= repeats
        ),
        f"accepted again {reached.accepted_more} times ≤ repeat requests {requests}": reached.accepted_more <= requests,
        f"possibly repeated {repeats} ≤ devices {report['devices']} + unsettled {unsettled}": (
            repeats <= report["devices"] + unsettled
        ),
        f"possibly repeated {repeats} ≤ repeat requests {requests}": repeats <= requests,
        f"asked twice {reached.asked_again} ≤ possibly repeated {repeats} + retried {rows.asked_again}": (
            reached.asked_again <= repeats + rows.asked_again
        ),
        f"accepted by the gateways {reached.accepted} ≥ by our account {ours['accepted']}": (
            reached.accepted >= ours["accepted"]
        ),
        f"status {report['status']} is {scenario.status}": report["status"] == scenario.status,
        f"hops {report['hops']} ≤ {scenario.max_hops}": report["hops"] <= scenario.max_hops,
    }
    if scenario.status == "completed":
        checks["nothing unsent"] = report["unsent"] == 0
        checks[f"rejected {ours['rejected']} = {scenario.rejected}"] = ours["rejected"] == scenario.rejected
        if scenario.all_accepted:
            checks[f"failed {outcomes['failed']}: none"] = ours["failed"] == 0
    return tuple(said for said, holds in checks.items() if not holds)
