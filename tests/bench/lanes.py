"""One campaign on 1, 2, 4, 8 lanes in the sandbox: speed, time to the first push by lane, pause, kills, cost.

    python -m tests.bench.lanes --sink nginx --seconds 30 --lanes 1 2 4 8 --per-lane 1000 --pause
    python -m tests.bench.lanes --users 400000 --lanes 1 8 --kills 20 --per-lane 0

Lanes are paced (`per_second` is the run's), so that two cores suffice: what is measured is whether lanes get in each
other's way, not how fast a core is. `--sink nginx` answers in the stand-ins' place (`tests.bench.sunk`), for a fraction
of their CPU. `cores` says who used the processor while all lanes were at work, and `at_most_per_s` what two cores
allow. With `--kills` the worker's environments are killed at random while the last of the numbers of lanes is sent.

Every audience is prepared, that of one lane too: so the rows of all numbers of lanes must be the same, byte for byte
(`lane_rows`; not with `--seconds`, which gives more lanes more users), and each phone's repeats must be in the run's
own account. If not, it exits with 1.
"""

import argparse
import contextlib
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from notifier.model.run import Lane, LaneState
from reporting.cost import DYNAMODB_READ, DYNAMODB_WRITE, LAMBDA_GB_SECOND, LAMBDA_REQUEST, S3_GET, S3_PUT
from sandbox.audience import Recipe, campaign, users
from sandbox.aws_faults import AwsRule, Does
from sandbox.gateways.counts import ARRIVALS_PER_S
from sandbox.trial import Setting, Trial
from tests.bench.cores import Cores
from tests.bench.lane_rows import Rows, read_rows
from tests.bench.sunk import sunk_gateways

CALLS = (
    ("s3", "PUT"),
    ("s3", "GET"),
    ("s3", "HEAD"),
    ("dynamodb", "UpdateItem"),
    ("dynamodb", "PutItem"),
    ("dynamodb", "GetItem"),
    ("dynamodb", "Query"),
    ("lambda", "POST"),
)
"""Calls of AWS by the functions, which are counted."""
OPENED = re.compile(r'"message":"((?:lanes_)?opened)","timestamp":"([^"]+)"')
BILLED = re.compile(r"Billed Duration: (\d+) ms\tMemory Size: (\d+) MB")


@dataclass(frozen=True)
class Plan:
    """One run: over how many lanes, and what happens to it."""

    lanes: int
    kills: int = 0
    is_paused: bool = False


def main() -> None:
    """Run them, and print one JSON line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=24_000)
    parser.add_argument("--seconds", type=int, default=0, help="So long lasts each run: users by lanes and their rate.")
    parser.add_argument("--sink", choices=("stand-ins", "nginx"), default="stand-ins")
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--per-lane", type=int, default=1_000, help="Devices a second for each lane; 0: no limit.")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--pause", action="store_true", help="A last run is paused half-way: how long do pushes go on?")
    parser.add_argument("--fcm-per-second", type=int, default=9_000)
    parser.add_argument("--ios-share", type=float, default=0.5)
    arguments = parser.parse_args()
    if arguments.sink == "nginx" and arguments.kills:
        parser.error("the sink does not see FCM's tokens: kills are counted by the stand-ins")
    plans = [Plan(lanes) for lanes in arguments.lanes]
    plans[-1] = Plan(plans[-1].lanes, kills=arguments.kills)
    if arguments.pause:
        plans.append(Plan(plans[-1].lanes, is_paused=True))
    found: list[tuple[dict[str, Any], Rows]] = []
    for plan in plans:
        found.append(measured(arguments, plan))
        print(json.dumps(found[-1][0]), flush=True)
        if found[-1][0]["faults"]:
            sys.exit(1)
    same = arguments.seconds > 0 or all(rows.digests == found[0][1].digests for _, rows in found)
    speeds = {plan.lanes: figures["devices_per_s"] for plan, (figures, _) in zip(plans, found, strict=True)
              if not plan.is_paused}  # fmt: skip
    print(json.dumps({"same_rows": None if arguments.seconds else same, "devices_per_s_by_lanes": speeds}))
    sys.exit(0 if same else 1)


def measured(arguments: argparse.Namespace, plan: Plan) -> tuple[dict[str, Any], Rows]:
    """One run over so many lanes."""
    lanes = plan.lanes
    if arguments.seconds:
        arguments.users = arguments.seconds * arguments.per_lane * lanes
    recipe = Recipe(users=arguments.users, ios_share=arguments.ios_share)
    # One lane, too, is that of a prepared audience: the file asks for two, and there is room for one.
    about = campaign(recipe) | {"lanes": max(lanes, 2)}
    if arguments.per_lane:
        about["per_second"] = arguments.per_lane * lanes
    parameters = {"FcmPerSecond": str(arguments.fcm_per_second)} | ({"WorkerConcurrency": "2"} if lanes == 1 else {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"lanes-{lanes}.json"
        path.write_text(json.dumps({"campaign": about, "users": list(users(recipe))}), encoding="utf-8")
        setting = Setting(parameters=parameters, schedule_every_s=15.0)
        with (
            sunk_gateways(late=True) if arguments.sink == "nginx" else contextlib.nullcontext() as gateways,
            Trial.start(Path(folder) / "sandbox", setting, gateways=gateways) as trial,
        ):
            # Rules that strike without harm count the calls.
            trial.sandbox.aws.break_by([AwsRule(service, Does.DELAY, name, times=0) for service, name in CALLS])
            return follow(trial, path, arguments, plan)


def follow(trial: Trial, path: Path, arguments: argparse.Namespace, plan: Plan) -> tuple[dict[str, Any], Rows]:
    """Send a file, and look at what came of it."""
    dropped_s = time.time()
    cores = Cores(trial)
    run_id = trial.drop(path)
    killed: list[float] = []
    threading.Thread(target=kill_at_random, args=(trial, run_id, plan.kills, killed), daemon=True).start()
    paused = pause_half_way(trial, run_id, arguments) if plan.is_paused else {}
    for _ in trial.follow(run_id, 1_800.0, every_s=1.0):
        pass
    cores.end()
    found, summary, counts = trial.ledger.lanes_of(run_id), trial.summary(run_id), trial.gateways.counts()
    rows = read_rows(trial, run_id)
    repeated = counts.fcm.repeated_tokens + counts.apns.repeated_tokens
    distinct = counts.fcm.distinct_tokens + counts.apns.distinct_tokens
    requests = counts.fcm.requests + counts.apns.requests
    figures: dict[str, Any] = {
        "lanes": len(found),
        "status": summary.status,
        "devices": summary.devices,
        **pace_of(rows, found, opened_at(trial), cores),
        "prepared_after_s": round(min(lane.started_at_ms or 0 for lane in found) / 1000 - dropped_s, 2),
        "hops": summary.hops,
        "kills": len(killed),
        "repeated_tokens": repeated,
        "possibly_repeated": summary.possibly_repeated,
        "repeat_requests": summary.repeat_requests,
        "apns_connections": counts.apns.connections,
        **cost(trial, run_id, rows.rows),
        **paused,
    }
    promises = {
        "completed": summary.status == "completed",
        "rows = devices": rows.rows == rows.distinct == summary.devices == arguments.users,
        "each token once or counted": distinct == rows.asked and repeated <= summary.possibly_repeated,
        "requests counted": requests - distinct <= summary.repeat_requests,
        "apns ids": not rows.wrong_ids,
    }
    figures["faults"] = [name for name, kept in promises.items() if not kept]
    return figures, rows


def opened_at(trial: Trial) -> float:
    """When the first lane had opened the others, or without others the run, by the worker's log: since the epoch."""
    log = trial.sandbox.lambda_.logs / f"{trial.sandbox.function('WorkerFunction').name}.log"
    found = dict(OPENED.findall(log.read_text(errors="replace")))
    return datetime.strptime(found.get("lanes_opened") or found["opened"], "%Y-%m-%d %H:%M:%S,%f%z").timestamp()


def pace_of(rows: Rows, lanes: Sequence[Lane], opened_s: float, cores: Cores) -> dict[str, Any]:
    """How fast it was while all lanes were at work, and how long after its claim each lane had its first outcome.

    The first lane's claim comes before the preparation: its time is that from the opening of the lanes on.
    """
    by_lane: dict[int, list[float]] = defaultdict(list)
    for record, at_s in rows.times:
        number = next((one.lane for one in lanes if one.span and one.span.first <= record < one.span.end), 0)
        by_lane[number].append(at_s)
    began = {one.lane: (one.started_at_ms or 0) / 1000 for one in lanes}
    began[0] = opened_s
    first = {lane: round(min(by_lane[lane]) - began_s, 2) for lane, began_s in began.items()}
    # From the last lane's beginning to the first one's end. Lanes whose times do not overlap say nothing. Without the
    # last of each: a thousandth of the answers take 5 s.
    begin_s = max(min(times) for times in by_lane.values())
    end_s = min(sorted(times)[int(len(times) * 0.98)] for times in by_lane.values())
    within = sum(begin_s <= at_s <= end_s for _, at_s in rows.times)
    used = cores.between(begin_s, end_s)
    all_times = [at_s for _, at_s in rows.times]
    return {
        "seconds": round(max(all_times) - min(all_times), 2),
        "all_at_work_s": round(max(end_s - begin_s, 0.0), 2),
        "devices_per_s": round(within / (end_s - begin_s)) if end_s > begin_s + 1 else None,
        "cores": used,
        "at_most_per_s": at_most(within / (end_s - begin_s), used) if used else None,
        "first_push_after_start_s": first,
    }


def at_most(per_s: float, used: Mapping[str, float]) -> int:
    """What the machine's cores allow, if all that a push costs here grew with the pushes and nobody else worked."""
    ours = sum(cores for kind, cores in used.items() if kind != "others")
    return round(per_s * (os.cpu_count() or 1) / ours)


def cost(trial: Trial, run_id: str, rows: int) -> dict[str, Any]:
    """What Lambda would bill, and what AWS was asked, for a million devices."""
    log = trial.sandbox.lambda_.logs / f"{trial.sandbox.function('WorkerFunction').name}.log"
    billed = [(int(ms), int(mb)) for ms, mb in BILLED.findall(log.read_text(errors="replace"))]
    gb_s = sum(ms / 1_000 * mb / 1_024 for ms, mb in billed)
    calls = {f"{service} {name}": n for (service, name), n in zip(CALLS, trial.sandbox.aws.struck(), strict=True)}
    units = write_units(trial, run_id)
    usd = {
        "lambda": gb_s * LAMBDA_GB_SECOND + len(billed) * LAMBDA_REQUEST,
        "s3": calls["s3 PUT"] * S3_PUT + (calls["s3 GET"] + calls["s3 HEAD"]) * S3_GET,
        # A write of a lane costs its item's size in the table, and twice in the index: the old entry and the new one.
        "dynamodb": (calls["dynamodb UpdateItem"] + calls["dynamodb PutItem"]) * 3 * units * DYNAMODB_WRITE
        + (calls["dynamodb GetItem"] + calls["dynamodb Query"]) * DYNAMODB_READ,
    }
    million = 1e6 / rows
    return {
        "invocations": len(billed),
        "gb_s_per_million": round(gb_s * million, 1),
        "calls": calls,
        "write_units": units,
        "usd_per_million": {name: round(value * million, 4) for name, value in usd.items()}
        | {"all": round(sum(usd.values()) * million, 4)},
    }


def write_units(trial: Trial, run_id: str) -> int:
    """Write units of the largest lane's item: one for each KB begun."""
    client = trial.sandbox.client("dynamodb")
    items = client.query(
        TableName=trial.sandbox.table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :lane)",
        ExpressionAttributeValues={":pk": {"S": f"run#{run_id}"}, ":lane": {"S": "lane#"}},
    )["Items"]
    sizes = [sum(len(name) + len(next(iter(value.values()), "")) for name, value in _texts(item)) for item in items]
    return -(-max(sizes) // 1_024)


def _texts(item: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    return [(name, {kind: str(value)}) for name, typed in item.items() for kind, value in typed.items()]


def kill_at_random(trial: Trial, run_id: str, kills: int, killed: list[float]) -> None:
    """Kill the worker's environments, one lane's at a time, while the run sends."""
    chance, functions = random.Random(7), trial.sandbox.lambda_.functions
    name = trial.sandbox.function("WorkerFunction").name
    while len(killed) < kills:
        time.sleep(chance.uniform(0.5, 3.0))
        lanes = trial.ledger.lanes_of(run_id)
        if lanes and all(lane.state is LaneState.DONE for lane in lanes):
            return
        busy = [one for pool in functions.get(name).pools.values() for one in pool.busy()]
        # Only one that sends: before that there is nothing to lose.
        if busy and any(lane.account.devices for lane in lanes):
            chance.choice(busy).kill()
            killed.append(time.time())


def pause_half_way(trial: Trial, run_id: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Pause the run, wait until nothing is asked for any more, and resume it."""
    name = trial.sandbox.function("ControlFunction").name
    order = {"action": "pause", "run_id": run_id, "by": "the benchmark"}
    # On Lambda its cold start (0.6 to 1.3 s) waits for no lane. Here all of them share two cores: it is begun before.
    trial.sandbox.lambda_.invoke(name, json.dumps(order | {"run_id": "unknown"}).encode())
    while (counts := trial.gateways.counts()).fcm.requests + counts.apns.requests < arguments.users / 3:
        time.sleep(0.1)
    asked_s = time.time()
    trial.sandbox.lambda_.invoke(name, json.dumps(order).encode())
    answered_s = time.time()
    time.sleep(12.0)
    arrivals = trial.gateways.arrivals()
    last_s = max(max(of_one, default=0) for of_one in arrivals.values()) / ARRIVALS_PER_S
    states = sorted({lane.state.value for lane in trial.ledger.lanes_of(run_id)})
    trial.sandbox.lambda_.invoke(name, json.dumps(order | {"action": "resume"}).encode())
    return {
        "pause": {
            "command_answered_s": round(answered_s - asked_s, 2),
            "command_to_last_push_s": round(last_s - asked_s, 2),
            "answer_to_last_push_s": round(last_s - answered_s, 2),
            "states": states,
        }
    }


if __name__ == "__main__":
    main()
