"""The Lambda entry of the privacy officers' function: it finds, exports and erases people, and does nothing else."""

import json
import os
import sys
import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from privacy.jobs import Jobs, JobState
from privacy.service import Done, PrivacyService, Refused
from privacy.stack import Stack

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

WORK_MS = 900_000
"""The function's timeout in the template."""


def handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """What an officer asks for on the pages, work begun for it, the end of a run, or the clock's tick.

    `{"action": "find", "user_id": ID, "by": WHO}` and the like: see `privacy.service`. What cannot be done is answered
    with `refused`, and is no error.
    """
    if not isinstance(event, Mapping):
        return {"refused": "nothing that is known here was asked for"}
    service = _service()
    if "work" in event:
        service.work(event, context.get_remaining_time_in_millis)
        return {}
    if event.get("detail-type") == "Notifier Run Ended":
        run_id = str(event["detail"]["run_id"])
        return _after(run_id, service.run_ended(run_id, context.get_remaining_time_in_millis))
    if event.get("detail-type") == "Scheduled Event":
        return _after("", service.day_ended(context.get_remaining_time_in_millis))
    try:
        answer = service.carry_out(event)
    except Refused as refused:
        return {"refused": str(refused)}
    # No user id: logs are kept for LogDays, and an erasure does not reach them.
    line = {"level": "INFO", "message": f"privacy_{event['action']}", "by": str(event["by"]), "job": answer.get("job")}
    sys.stdout.write(json.dumps(line) + "\n")
    return answer


class Unfinished(Exception):
    """An erasure that nobody has asked for on a page, and that a person has to bring to its end."""


def _after(run_id: str, done: Done | None) -> dict[str, Any]:
    """Log what came of an erasure at a run's end, or by the clock. Raises Unfinished where nobody would hear of it.

    Args:
        run_id: "" by the clock.
    """
    if done is None:
        return {"erased": False}
    # Nobody asked for it on a page: the log and the alarm of this function's errors are all that speak of it.
    level = "ERROR" if done.needs_a_person else "INFO"
    message = "privacy_run_ended" if run_id else "privacy_day_ended"
    line = {"level": level, "message": message, "run_id": run_id, "state": done.state, "words": done.words}
    sys.stdout.write(json.dumps(line) + "\n")
    if done.needs_a_person:
        # Lambda's second attempt erases again only if this one ended before it came to its list; else the alarm alone
        # is the point.
        raise Unfinished(f"erasing {f'after run {run_id}' if run_id else 'by the clock'}: {done.words}")
    return {"erased": done.state is JobState.DONE, "state": done.state}


@cache
def _service() -> PrivacyService:
    """What every invocation of a process uses."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=20)
    session = boto3.Session()
    s3, dynamodb = session.client("s3", config=config), session.client("dynamodb", config=config)
    functions = session.client("lambda", config=config)
    bucket, approval_table = os.environ["BUCKET"], os.environ["APPROVAL_TABLE"]
    function = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    stack = Stack(s3, dynamodb, bucket, os.environ["TABLE"], os.environ["SUPPRESSION_PREFIX"], approval_table)

    def start(work: dict[str, Any]) -> None:
        # Asynchronous: the pages wait 28 s for an answer, and a large stack takes longer.
        functions.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(work).encode())

    officers = tuple(one.strip().lower() for one in os.environ["PRIVACY_OFFICERS"].split(",") if one.strip())
    jobs = Jobs(dynamodb, approval_table, s3, bucket)
    return PrivacyService(stack, jobs, officers, start, lambda: int(time.time() * 1000), WORK_MS)
