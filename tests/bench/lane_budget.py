"""FCM's budget over eight lanes, by the stand-in's own count: one lane joins late, one is killed.

    python -m tests.bench.lane_budget --budget 600
    python -m tests.bench.lane_budget --budget 2000 --sink nginx

The nudge of the last lane is lost, so that it begins when the sweeper finds it; another lane's invocation is killed. Of
the requests that reached the stand-in, in steps of 20 ms, the most in any second and in any ten must not exceed the
budget by more than 15 % and 5 %, and 35 s after the kill 90 % of it must be used again. If not, it exits with 1.

The machine must keep up: a stand-in that gets no CPU for a moment reads what came meanwhile in the same 20 ms.
`--sink nginx` counts in its place (`tests.bench.sunk`), by its own clock and for a fifth of the CPU.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from sandbox.audience import Recipe, campaign, users
from sandbox.gateways.counts import ARRIVALS_PER_S
from sandbox.local_lambda.invocation import Delivery, Fault, Invocation
from sandbox.trial import Setting, Trial
from tests.bench.cores import Cores
from tests.bench.sunk import sunk_gateways

LANES = 8
LATE, KILLED = 7, 3
KILL_AFTER_S = 70.0
"""After the lane's own beginning: the late one has joined by then."""
LASTS_S = 160.0
"""So long there must be devices to send to: a lapsed share is shared again, and the lane comes back."""


class Plan:
    """What happens to the lanes' first invocations."""

    def __init__(self) -> None:
        self.begun: set[int] = set()
        self.killed_s = 0.0

    def __call__(self, invocation: Invocation) -> Fault:
        """Decide about one."""
        event = json.loads(invocation.payload)
        lane = event.get("lane") if isinstance(event, dict) and "run_id" in event else None
        if lane in (LATE, KILLED) and lane not in self.begun:
            self.begun.add(lane)
            if lane == LATE:
                return Fault(delivery=Delivery.DROPPED)
            self.killed_s = time.time() + KILL_AFTER_S
            return Fault(kill_after_s=KILL_AFTER_S)
        return Fault()


def main() -> None:
    """Run it, and print what the stand-in counted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--budget", type=int, default=600, help="FcmPerSecond of the stack.")
    parser.add_argument("--sink", choices=("stand-ins", "nginx"), default="stand-ins")
    arguments = parser.parse_args()
    budget = arguments.budget
    recipe = Recipe(users=int(budget * LASTS_S), ios_share=0.0)
    plan = Plan()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "budget.json"
        about = campaign(recipe) | {"lanes": LANES}
        path.write_text(json.dumps({"campaign": about, "users": list(users(recipe))}), encoding="utf-8")
        # A gateway's usual time to answer, so that the requests in flight are many, too.
        setting = Setting(parameters={"FcmPerSecond": str(budget)}, latency_ms=(60.0, 150.0))
        with (
            sunk_gateways(late=True) if arguments.sink == "nginx" else contextlib.nullcontext() as gateways,
            Trial.start(Path(folder) / "sandbox", setting, plan, gateways=gateways) as trial,
        ):
            cores = Cores(trial)
            run_id = trial.drop(path)
            for _ in trial.follow(run_id, 900.0):
                pass
            cores.end()
            arrivals = trial.gateways.arrivals()["fcm"]
            found, summary = trial.ledger.lanes_of(run_id), trial.summary(run_id)
    figures = judged(arrivals, budget, plan.killed_s)
    first_s = min(arrivals) / ARRIVALS_PER_S
    figures |= {
        "status": summary.status,
        "lanes_began_after_s": [round((lane.started_at_ms or 0) / 1000 - first_s) for lane in found],
        "lanes_ended_after_s": [round((lane.ended_at_ms or 0) / 1000 - first_s) for lane in found],
        "possibly_repeated": summary.possibly_repeated,
        "cores": cores.between(first_s, max(arrivals) / ARRIVALS_PER_S),
    }
    kept = (
        figures["most_in_1_s"] <= 1.15
        and figures["most_in_10_s"] <= 1.05
        and figures["recovered_after_s"] <= 35.0
        and summary.status == "completed"
    )
    print(json.dumps({"budget": budget, "lanes": LANES, **figures, "kept": kept}))
    sys.exit(0 if kept else 1)


def judged(arrivals: Mapping[int, int], budget: int, killed_s: float) -> dict[str, Any]:
    """The most in any window as a share of the budget, and when it was used again after the kill."""
    first, last = min(arrivals), max(arrivals)
    counts = [arrivals.get(step, 0) for step in range(first, last + 1)]
    one_s, ten_s, five_s = (windows(counts, seconds, budget) for seconds in (1, 10, 5))
    kill = int(killed_s * ARRIVALS_PER_S) - first
    # The end, at which lanes have nothing left, says nothing.
    after = five_s[kill : -10 * ARRIVALS_PER_S]
    low = next((n for n, share in enumerate(after) if share < 0.9), None)
    back = None if low is None else next((n for n, share in enumerate(after[low:], low) if share >= 0.9), None)
    return {
        "requests": sum(counts),
        "seconds": round(len(counts) / ARRIVALS_PER_S, 1),
        "most_in_1_s": round(max(one_s), 3),
        "most_in_10_s": round(max(ten_s), 3),
        "before_the_kill": round(five_s[kill - 6 * ARRIVALS_PER_S], 3),
        "least_in_5_s_after_the_kill": round(min(after), 3),
        # Never low: nothing had to come back. Low to the end: it never did.
        "recovered_after_s": 0.0 if low is None else 999.0 if back is None else back / ARRIVALS_PER_S,
        "killed_after_s": round(kill / ARRIVALS_PER_S),
        "by_5_s": [round(share, 2) for share in five_s[:: 5 * ARRIVALS_PER_S]],
    }


def windows(counts: list[int], seconds: int, budget: int) -> list[float]:
    """What was sent in each window of so many seconds, as a share of the budget; one begins each 20 ms."""
    steps, total = seconds * ARRIVALS_PER_S, [0, *accumulate(counts)]
    return [(total[n + steps] - total[n]) / (budget * seconds) for n in range(len(counts) - steps + 1)]


if __name__ == "__main__":
    main()
