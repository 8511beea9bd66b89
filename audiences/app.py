"""The Lambda entry of the audience function.

`{"prepare": RUN, "worker": FUNCTION}` makes the audience of a run. An event of EventBridge reports that a query of
Athena has ended. `{"cost": …}` and `{"left_out": …}` are asked by the pages, and answered at once.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError

from audiences.build import build, found_manifest, is_whole
from audiences.cap_counting import CapCounter
from audiences.cap_locks import CapLocks
from audiences.caps import CapObjects
from audiences.database import Limits
from audiences.destinations import Bucket
from audiences.engines.athena import Athena, ended_execution
from audiences.engines.bigquery import BigQuery
from audiences.engines.port import EngineName, RemoteEngine
from audiences.engines.port import Limits as QueryLimits
from audiences.faults import AudienceFault, BrokenFile
from audiences.manifest_format import NAME, PREFIX, Manifest, folder_of
from audiences.request import Resolver, order_of
from audiences.rooms import Rooms
from audiences.run_conversions import ConversionCounter
from audiences.run_cut import RulesNow, S3Cutter, SuppressionUnread
from audiences.run_preparation import Maker, Progress, RunPreparation, in_words
from audiences.store import PreparationStore
from audiences.warehouse import Queries, Warehouses
from audiences.watch import LastProgress
from notifier.audience.pin import pin_parts
from notifier.model.audience_faults import AudienceChanged, AudienceDenied, AudienceUnreachable
from notifier.model.campaign import Part
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.caps import quiet_in_force, read_defaults, run_caps
from notifier.model.holdout import NOBODY, Holdout, read_hundredths, read_version
from notifier.model.preparation import IN_BATCH_FILE, LANES, Preparation, Stage
from notifier.model.remainder import other_part_of

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

WORK = Path(tempfile.gettempdir()) / "audiences"
"""In Lambda's /tmp, which is this environment's alone; in the sandbox that is a folder, which TMPDIR names."""
QUERY_TIME_S = 300.0
"""How long one query may take: of the function's 900 s, some must be left for the audience itself."""
NO_WAREHOUSES = Warehouses({})
_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=20)
MB_OF_ONE_VCPU = 1_769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""


def handler(event: object, _context: "LambdaContext") -> dict[str, Any]:
    """Make the audience of the run that the event names, or whose query has ended; or say what one would read."""
    members: Mapping[str, Any] = event if isinstance(event, Mapping) else {}
    about = {}
    if (execution := ended_execution(members)) is not None:
        outcome, about = _process().handle_end_of_query(execution), {"ended_query": execution}
    elif members.get("prepare"):
        outcome = _process().handle(str(members["prepare"]), str(members.get("worker", "")))
    elif members.get("cost"):
        return _maker().costs(members["cost"], str(members.get("bucket", "")))
    elif members.get("left_out"):
        return left_out(_cutter(), members, WORK / "left-out")
    else:
        raise ValueError(
            'expected {"prepare": RUN, "worker": FUNCTION}, {"cost": REQUEST, "bucket": BUCKET} or '
            '{"left_out": MANIFEST, "exclude": PARTS, "bucket": BUCKET, "legal": false, "campaign": CAMPAIGN}'
        )
    answer: dict[str, Any] = msgspec.to_builtins(outcome)
    sys.stdout.write(json.dumps({"level": "INFO", "message": "prepared", **answer, **about}) + "\n")
    return answer


def left_out(
    cutter: S3Cutter, members: Mapping[str, Any], work: Path, environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Whom the final cut would leave out now: `users`, `left_out` by reason, `as_of`; or `fault`, for people."""
    manifest, bucket = str(members["left_out"]), str(members.get("bucket", ""))
    if not manifest.startswith(PREFIX):
        return {"fault": f"{manifest}: not the manifest of a prepared audience"}
    try:
        exclude = pin_parts(
            cutter.client, msgspec.convert(members.get("exclude", ()), tuple[Part, ...]), bucket, "exclude"
        )
        now = _rules_now(cutter, members.get("campaign"), legal=bool(members.get("legal")), environment=environment)
        found = cutter.left_out_now(manifest, exclude, now, work)
    except (BrokenCampaign, ValueError) as error:
        return {"fault": str(error)}
    except (AudienceFault, BrokenFile, AudienceChanged, AudienceUnreachable, SuppressionUnread) as error:
        return {"fault": in_words(error)}
    answer: dict[str, Any] = msgspec.to_builtins(found)
    return answer


def _rules_now(cutter: S3Cutter, campaign: object, *, legal: bool, environment: Mapping[str, str]) -> RulesNow:
    """What a campaign would be judged by if it began now; what holds for any, where none is given."""
    percent, version = environment.get("HOLDOUT_PERCENT", "0"), environment.get("HOLDOUT_VERSION", "1")
    holdout = Holdout(read_hundredths(percent), read_version(version))
    if campaign is None:
        return RulesNow(legal, holdout)
    given, defaults = read_campaign(campaign), read_defaults(environment)
    # As at a run's admission.
    held_out = NOBODY if given.test or given.essential else holdout
    times = cutter.times_now(given, quiet_in_force(given, defaults))
    caps = run_caps(given, defaults, rehearse=True)
    return RulesNow(legal or given.legal, held_out, other_part_of(given), caps, times)


@cache
def _cutter() -> S3Cutter:
    """What makes final cuts in this process."""
    session = boto3.Session()
    s3 = session.client("s3", config=_CONFIG)
    return S3Cutter(s3, os.environ["BUCKET"], os.environ["SUPPRESSION_PREFIX"], _caps(), _locks())


@cache
def _locks() -> CapLocks:
    """The locks of groups of campaigns."""
    return CapLocks(boto3.Session().client("dynamodb", config=_CONFIG), os.environ["TABLE"])


@cache
def _caps() -> CapObjects:
    """Whom runs have reached."""
    s3 = boto3.Session().client("s3", config=_CONFIG)
    return CapObjects(s3, os.environ["BUCKET"], _maker().limits(WORK / "caps-database"))


@cache
def _counter() -> ConversionCounter:
    """What counts conversions in this process."""
    session = boto3.Session()
    s3 = session.client("s3", config=_CONFIG)
    warehouses = warehouses_of(session, _CONFIG, s3, _store(), os.environ)
    return ConversionCounter(s3, os.environ["BUCKET"], os.environ, warehouses)


@cache
def _process() -> RunPreparation:
    """What prepares audiences of runs in this process."""
    session = boto3.Session()
    makers: dict[Stage, Maker] = {
        Stage.PREPARE: _maker(),
        Stage.CUT: _cutter(),
        Stage.CONVERSIONS: _counter(),
        Stage.CAPS: CapCounter(session.client("s3", config=_CONFIG), os.environ["BUCKET"], _caps(), _locks()),
    }
    nudge = WorkerNudge(session.client("lambda", config=_CONFIG))
    return RunPreparation(_store(), makers, nudge, WORK, _maker().stop)


@cache
def _store() -> PreparationStore:
    """The preparations' items."""
    return PreparationStore(boto3.Session().client("dynamodb", config=_CONFIG), os.environ["TABLE"], time.time)


@cache
def _maker() -> "S3Maker":
    """What makes audiences in this process."""
    session = boto3.Session()
    s3 = session.client("s3", config=_CONFIG)
    warehouses = warehouses_of(session, _CONFIG, s3, _store(), os.environ)
    return S3Maker(s3, os.environ["BUCKET"], os.environ, warehouses)


def warehouses_of(
    session: Any, config: Config, s3: Any, store: PreparationStore, environment: Mapping[str, str]
) -> Warehouses:
    """The warehouses that the stack has parameters for."""
    engines: dict[EngineName, Callable[[], RemoteEngine]] = {}
    if group := environment.get("ATHENA_WORKGROUP"):
        database = environment.get("ATHENA_DATABASE") or "default"
        athena = partial(session.client, "athena", config=config)
        engines["athena"] = lambda: Athena(athena(), s3, group, environment["BUCKET"], database)
    if environment.get("BIGQUERY_SECRET_ARN"):
        engines["bigquery"] = lambda: _bigquery(session.client("secretsmanager", config=config), environment)
    return Warehouses(engines, store.last_scan, store.note_scan)


def _bigquery(secrets: Any, environment: Mapping[str, str]) -> RemoteEngine:
    """BigQuery, with the key in the stack's secret. A process reads it once."""
    from audiences.engines.google import Account  # noqa: PLC0415 - half a second, for those who ask BigQuery

    arn = environment["BIGQUERY_SECRET_ARN"]
    text = secrets.get_secret_value(SecretId=arn).get("SecretString", "")
    account = Account(text, f"the secret {arn.rpartition(':')[2]}")
    ask = account.ask(
        environment["BIGQUERY_BASE_URL"], environment.get("GATEWAY_CA_FILE", ""), environment.get("GATEWAY_PROXY", "")
    )
    maximum = int(environment.get("BIGQUERY_MAXIMUM_BYTES") or 0)
    return BigQuery(ask, account.project, maximum, environment["BIGQUERY_LOCATION"])


class S3Maker:
    """Makes audiences of objects in S3 and of queries, by DuckDB, in the stack's bucket.

    Args:
        bucket: the stack's.
        environment: what Lambda says of the function, `STORAGE_MB` and `AUDIENCE_BUCKET_ARNS`.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        environment: Mapping[str, str],
        warehouses: Warehouses = NO_WAREHOUSES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._warehouses = warehouses
        self._now = now
        self._destination = Bucket(client, bucket, unused=True)
        self._memory_mb = int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048"))
        self._storage_mb = int(environment.get("STORAGE_MB", "2048"))
        self._rooms = Rooms.of_arns(bucket, environment.get("AUDIENCE_BUCKET_ARNS", ""))

    def __call__(self, preparation: Preparation, work: Path, on_progress: Progress) -> str:
        """Make the audience and return the key of its manifest. Raises StillQuerying."""
        queries, now_s = Queries.decode(preparation.queries), self._now()
        # By the time of the first attempt: the audience's id stays the same while a warehouse is at work.
        request = msgspec.json.decode(preparation.request)
        rooms = msgspec.structs.replace(self._rooms, is_batch_file=bool(request.get(IN_BATCH_FILE)))
        stack = self._destination.bucket
        resolver = Resolver(self._client, stack, preparation.bucket, queries.began_s or now_s, rooms)
        # What the worker adds is no part of who is in it. But it is of the audience's id: it decides about the parts.
        resolved = resolver.resolve({n: value for n, value in request.items() if n not in (LANES, IN_BATCH_FILE)})
        resolved = msgspec.structs.replace(resolved, request=request)
        found = found_manifest(self._destination, resolved.id)
        if found is not None and is_whole(self._destination, found):
            return key_of(found)
        # An order that is asked for again is another attempt for a warehouse, which would answer with the old rows.
        name = f"{preparation.run_id}-{preparation.asked_at_ms}" if preparation.asked_at_ms else preparation.run_id
        queried = self._warehouses.rows(name, resolved, queries, now_s, work / "inputs")
        reported = LastProgress(on_progress)
        reported("reading what it is made of", 0)
        # Milliseconds: another run may be having the same audience made, and no two attempts share a folder.
        attempt = time.time_ns() // 1_000_000
        # A query and the database are never at work at the same time: each may use the whole share.
        limits = QueryLimits.of_function(self._memory_mb, self._storage_mb, QUERY_TIME_S)
        order = order_of(self._client, resolved, attempt, work / "inputs", limits, queried, reported.again)
        order = msgspec.structs.replace(order, lanes=int(request.get(LANES, 1)))
        if request.get(IN_BATCH_FILE):
            inputs = tuple(msgspec.structs.replace(one, in_batch_file=True) for one in order.inputs)
            order = msgspec.structs.replace(order, inputs=inputs)
        return key_of(build(order, self._destination, self.limits(work / "database"), on_progress))

    def costs(self, request: Mapping[str, Any], bucket: str) -> dict[str, Any]:
        """What making an audience would read, a sentence for each engine: `costs`; or `fault`, in words for people."""
        try:
            stack, now_s = self._destination.bucket, self._now()
            resolved = Resolver(self._client, stack, bucket, now_s, self._rooms).resolve(request)
            queried = [one for one in resolved.sources if one.query is not None and one.engine != "duckdb"]
            found = [self._warehouses.cost(one.engine, one.query) for one in queried if one.query is not None]
        except (AudienceFault, AudienceChanged, AudienceDenied, AudienceUnreachable) as error:
            return {"fault": in_words(error)}
        size = sum(one.size for source in resolved.sources if source not in queried for one in source.pinned)
        files = [f"{size / 1e6:,.1f} MB of files, where nothing is paid by the byte"] if size else []
        return {"costs": [*found, *files]}

    def stop(self, queries: Queries) -> None:
        """Stop queries that nobody wants any more."""
        self._warehouses.stop(queries)

    def limits(self, work: Path) -> Limits:
        """60 % of the function's memory, as many threads as it has vCPUs, half of its storage to spill to."""
        threads = max(1, round(self._memory_mb / MB_OF_ONE_VCPU))
        return Limits(work, self._memory_mb * 6 // 10, threads, self._storage_mb // 2)


class WorkerNudge:
    """Invokes the worker asynchronously, in the version of the code that the run began with."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __call__(self, worker: str, run_id: str, version: str) -> None:
        """Nudge a lane that is ready. Where that version was deleted the sweeper does it."""
        parts = worker.split(":")
        name = ":".join(parts[:7]) if worker.startswith("arn:") else parts[0]
        qualifier = {"Qualifier": version} if version and version != "$LATEST" else {}
        payload = json.dumps({"notifier": "nudge", "run_id": run_id, "lane": 0}).encode()
        try:
            self._client.invoke(FunctionName=name, InvocationType="Event", Payload=payload, **qualifier)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise


def key_of(manifest: Manifest) -> str:
    """The manifest's key in the stack's bucket."""
    return folder_of(manifest.id) + NAME
