"""One campaign on 1, 2, 4, 8 lanes in the sandbox: speed, time to the first push by lane, kills, cost.

    python -m tests.bench.lanes --users 24000 --lanes 1 2 4 8 --per-lane 1000
    python -m tests.bench.lanes --users 400000 --lanes 1 8 --kills 20 --per-lane 0

Lanes are paced (`per_second` is the run's), so that two cores suffice: what is measured is whether lanes get in each
other's way, not how fast a core is. With `--kills` the worker's environments are killed at random. The rows of all runs
are compared: but for their order, times and attempts they must be the same.
"""

import argparse
import json
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from notifier.model.run import LaneState
from reporting.cost import DYNAMODB_WRITE, LAMBDA_GB_SECOND, LAMBDA_REQUEST
from sandbox.audience import Recipe, campaign, users
from sandbox.trial import Setting, Trial

MEMORY_GB = 1_769 / 1_024
SAME = ("device", "user_id", "arm", "platform", "outcome", "reason")


def main() -> None:
    """Run them, and print one JSON line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=24_000)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--per-lane", type=int, default=1_000, help="Devices a second for each lane; 0: no limit.")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--pause", action="store_true", help="Pause half-way, and say how long pushes go on.")
    parser.add_argument("--fcm-per-second", type=int, default=9_000)
    parser.add_argument("--ios-share", type=float, default=0.5)
    arguments = parser.parse_args()
    digests = []
    for lanes in arguments.lanes:
        figures, digest = measured(arguments, lanes)
        digests.append(digest)
        print(json.dumps(figures), flush=True)
    print(json.dumps({"same_rows": all(digest == digests[0] for digest in digests)}))


def measured(arguments: argparse.Namespace, lanes: int) -> tuple[dict[str, Any], Counter[tuple[Any, ...]]]:
    """One run over so many lanes."""
    recipe = Recipe(users=arguments.users, ios_share=arguments.ios_share)
    about = campaign(recipe) | {"lanes": lanes}
    if arguments.per_lane:
        about["per_second"] = arguments.per_lane * lanes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"lanes-{lanes}.json"
        path.write_text(json.dumps({"campaign": about, "users": list(users(recipe))}), encoding="utf-8")
        setting = Setting(parameters={"FcmPerSecond": str(arguments.fcm_per_second)})
        with Trial.start(Path(folder) / "sandbox", setting) as trial:
            return follow(trial, path, arguments, lanes)


def follow(
    trial: Trial, path: Path, arguments: argparse.Namespace, lanes: int
) -> tuple[dict[str, Any], Counter[tuple[Any, ...]]]:
    """Send a file, and look at what came of it."""
    dropped_s = time.time()
    run_id = trial.drop(path)
    killer = threading.Thread(target=kill_at_random, args=(trial, run_id, arguments.kills), daemon=True)
    killer.start()
    paused = pause_half_way(trial, run_id, arguments) if arguments.pause else {}
    for _ in trial.follow(run_id, 1_800.0):
        pass
    found = trial.ledger.lanes_of(run_id)
    summary = trial.summary(run_id)
    counts = trial.gateways.counts()
    rows = list(trial.rows(run_id))
    times, first = times_of(rows, found)
    # Of the middle: how fast it is while all lanes work, without how far apart they began and ended.
    early, late = times[len(times) // 4], times[len(times) * 3 // 4]
    sending_s = times[-1] - times[0]
    gb_s = summary.sending_s * MEMORY_GB
    writes = summary.sending_s * 4 * 3
    figures = {
        "lanes": len(found),
        "status": summary.status,
        "devices": summary.devices,
        "rows": len(rows),
        "distinct_rows": len({(row["record"], row["device"]) for row in rows}),
        "seconds": round(sending_s, 2),
        "devices_per_s": round(len(times) / 2 / max(late - early, 0.001)),
        "prepared_after_s": round(min(lane.started_at_ms or 0 for lane in found) / 1000 - dropped_s, 2),
        "first_push_after_start_s": first,
        "repeated_tokens": counts.fcm.repeated_tokens + counts.apns.repeated_tokens,
        "possibly_repeated": summary.possibly_repeated,
        "hops": summary.hops,
        "kills": arguments.kills,
        "apns_connections": counts.apns.connections,
        "usd_per_million": round(
            (gb_s * LAMBDA_GB_SECOND + summary.hops * LAMBDA_REQUEST + writes * DYNAMODB_WRITE) / len(rows) * 1e6, 3
        ),
        **paused,
    }
    return figures, Counter(tuple(row.get(name) for name in SAME) for row in rows)


def times_of(rows: list[dict[str, Any]], lanes: Any) -> tuple[list[float], dict[int, float]]:
    """When each device had its outcome, in order, and how long after its claim each lane had its first."""
    from datetime import datetime

    by_lane: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        at = datetime.fromisoformat(row["at"]).timestamp()
        number = next((one.lane for one in lanes if one.span and one.span.first <= row["record"] < one.span.end), 0)
        by_lane[number].append(at)
    first = {
        one.lane: round(min(by_lane[one.lane]) - (one.started_at_ms or 0) / 1000, 2)
        for one in lanes
        if by_lane[one.lane]
    }
    return sorted(at for times in by_lane.values() for at in times), first


def kill_at_random(trial: Trial, run_id: str, kills: int) -> None:
    """Kill the worker's environments, one lane's at a time, while the run sends."""
    chance, functions = random.Random(7), trial.sandbox.lambda_.functions
    name = trial.sandbox.function("WorkerFunction").name
    killed = 0
    while killed < kills:
        time.sleep(chance.uniform(0.5, 3.0))
        lanes = trial.ledger.lanes_of(run_id)
        if lanes and all(lane.state is LaneState.DONE for lane in lanes):
            return
        busy = [one for pool in functions.get(name).pools.values() for one in pool.busy()]
        # Only one that sends: before that there is nothing to lose.
        if busy and any(lane.account.devices for lane in lanes):
            chance.choice(busy).kill()
            killed += 1


def pause_half_way(trial: Trial, run_id: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Pause the run, wait until nothing is asked for any more, and resume it."""
    for seen in requests(trial):
        if seen > arguments.users / 3:
            break
    name = trial.sandbox.function("ControlFunction").name
    order = {"action": "pause", "run_id": run_id, "by": "the benchmark"}
    asked_s = time.monotonic()
    trial.sandbox.lambda_.invoke(name, json.dumps(order).encode())
    last, last_s = 0, asked_s
    while time.monotonic() - asked_s < 12.0:
        seen = next(requests(trial))
        if seen != last:
            last, last_s = seen, time.monotonic()
        time.sleep(0.05)
    trial.sandbox.lambda_.invoke(name, json.dumps(order | {"action": "resume"}).encode())
    return {"last_push_after_pause_s": round(last_s - asked_s, 2)}


def requests(trial: Trial) -> Iterator[int]:
    """How many requests the stand-ins have had, again and again."""
    while True:
        counts = trial.gateways.counts()
        yield counts.fcm.requests + counts.apns.requests
        time.sleep(0.05)


if __name__ == "__main__":
    main()
