"""The status of a request: its run and its test pushes, for the page and the script that refreshes it."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from approval.arm_names import shown_names
from approval.decision_card import text_name
from approval.files import Files, RowSeen
from approval.pace import pace_of
from approval.prepared import AudienceSeen
from approval.reasons import reason_in_words
from approval.request import Request, State
from approval.result_view import ResultView
from approval.runs import Runs, RunSeen
from approval.store import Store, TestPush
from notifier.decision_items import DecisionItem
from notifier.model.campaign import CONTROL

TESTS_AWAITED_MS = 300_000
"""How long the page waits for the answer to a test push."""


class TestSeen(msgspec.Struct, frozen=True):
    """A test push with the gateways' answers; `rows` is None while there are none."""

    __test__ = False

    test: TestPush
    rows: tuple[RowSeen, ...] | None
    name: str
    reason: str = ""


class RequestStatus:
    """Reads the status of requests.

    Args:
        now_ms: milliseconds since the epoch.
    """

    def __init__(self, store: Store, files: Files, runs: Runs, results: ResultView, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._files = files
        self._runs = runs
        self._results = results
        self._now_ms = now_ms

    def values(self, request: Request, audience: AudienceSeen) -> dict[str, Any]:
        """The values of `_status.html`, but for the audience's.

        `live` is whether anything may still change: then the page refreshes itself.
        """
        run = self._runs.run(request.written.run_id) if request.written else None
        devices = _expected(request, audience.counts.device_count if audience.counts else 0)
        settled = run.account.settled if run else 0
        names = shown_names(request.form)
        sent = self._store.tests(request.id)
        has_languages = any(test.locale for test in sent)
        tests = [
            self._test_seen(test, text_name(test.arm, test.locale, names, has_languages=has_languages)) for test in sent
        ]
        # No run yet, or one that is not over. A run may take minutes to appear: S3's event comes first.
        is_sending = request.written is not None and not (run and run.is_over)
        of_result = self._results.values(request, run)
        result = of_result["result"]
        is_counting = request.state is State.IN_REVIEW and audience.is_counting
        return {
            "run": run,
            "is_unlinked": self._is_unlinked(request),
            "arms": arms_of(run, names) if run else (),
            "share": min(1.0, settled / devices) if devices else 0.0,
            "settled": settled,
            "expected": devices,
            "pace": pace_of(run, devices) if run else None,
            "tests": tests,
            **of_result,
            "live": is_sending
            or _is_deciding(of_result["decision"], of_result["remainder"])
            or is_counting
            or (result is not None and result.counted.is_counting)
            or any(map(self._is_awaited, tests)),
        }

    def _is_unlinked(self, request: Request) -> bool:
        """Whether its file was written, and the call was cut off before the request said so."""
        if request.state is not State.APPROVED or request.written is not None or request.campaign is None:
            return False
        return self._files.is_written(request.batch_key, request.content_hash)

    def _is_awaited(self, seen: TestSeen) -> bool:
        return seen.rows is None and not seen.reason and self._now_ms() - seen.test.at_ms < TESTS_AWAITED_MS

    def _test_seen(self, test: TestPush, name: str) -> TestSeen:
        rows = self._files.rows(test.run_id)
        run = None if rows is not None else self._runs.run(test.run_id)
        # A test run that is over without rows sent nothing: the tester must learn why.
        reason = ""
        if run is not None and (run.is_over or run.status == "stopped"):
            broken = run.account.invalid_records
            reason = run.reason or ("not sent: this user lacks something that the text needs" if broken else run.status)
        return TestSeen(test, tuple(rows) if rows is not None else None, name or "the push", reason)


def _is_deciding(decision: DecisionItem | None, remainder: RunSeen | None) -> bool:
    """Whether the winner was just decided, or the others are being sent to."""
    if decision is None:
        return False
    return decision.state == "decided" or bool(decision.remainder and not (remainder and remainder.is_over))


def _expected(request: Request, devices: int) -> int:
    """Devices of an audience that the run asks for: of a test before a winner, about its part of them."""
    winner = request.campaign.winner if request.campaign is not None else None
    return devices if winner is None else round(devices * float(winner.test_percent) / 100)


def _reasons(*counts: Mapping[str, int]) -> str:
    """The reasons with their numbers, those that mean the same added up, the most frequent first."""
    total: Counter[str] = Counter()
    for each in counts:
        for reason, n in each.items():
            total[reason_in_words(reason)] += n
    return "; ".join(f"{words}: {n:,}" for words, n in total.most_common())


def arms_of(run: RunSeen, names: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    """A run's figures by arm, under the names that the form has for them; control last."""
    return tuple(
        {
            "name": names.get(name, name),
            "assigned": arm.assigned,
            "accepted": arm.accepted,
            "rejected": sum(arm.rejected.values()),
            "failed": sum(arm.failed.values()),
            "held": arm.held,
            "reasons": _reasons(arm.rejected, arm.failed),
        }
        for name, arm in sorted(run.account.arms.items(), key=lambda item: (item[0] == CONTROL, item[0]))
    )
