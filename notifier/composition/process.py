"""Puts the parts together: clients, gateways and stores of one process; feed, dispatch and progress of one hop."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from notifier.audience import (
    AudienceChanged,
    AudienceDenied,
    AudienceStream,
    BrokenFile,
    FileCache,
    FileKind,
    GuardedStream,
    pin,
    pin_parts,
    read_head,
    read_ids,
)
from notifier.audience.ranges import read_ranges
from notifier.composition.settings import Mode, Settings
from notifier.content.render import Renderer
from notifier.events.announcement import EventBridgeAnnouncer
from notifier.events.continuation import LambdaContinuation
from notifier.gateway.additions import addition_faults
from notifier.gateway.apns import auth as apns_auth
from notifier.gateway.apns import carrier as apns_carrier
from notifier.gateway.carrier import RunContent
from notifier.gateway.curl import CurlTransport
from notifier.gateway.endpoint import Endpoint
from notifier.gateway.fcm import auth as fcm_auth
from notifier.gateway.fcm import carrier as fcm_carrier
from notifier.gateway.keys import Keys
from notifier.gateway.secrets import BadSecret, Secrets
from notifier.lifecycle.admission import Admission, AdmittedCampaign, NotAdmitted
from notifier.model.account import Account
from notifier.model.arms import Arms
from notifier.model.batch_file import BatchFileHead, PinnedObject
from notifier.model.campaign import Audience
from notifier.model.cursor import Cursor
from notifier.model.run import Lane, LaneLost, Run, Source, batch_name
from notifier.model.runtime import Deadline
from notifier.sending.answers import OnAnswer
from notifier.sending.batch_builder import BatchBuilder
from notifier.sending.batch_source import (
    AudienceBatches,
    BatchSource,
    BrokenInput,
    EndedFeed,
    FeedOpener,
    InputUnreachable,
    Position,
    SkipReader,
)
from notifier.sending.carrier import Carrier
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.deferred import DeferredQueue
from notifier.sending.dispatch import Dispatch
from notifier.sending.hop import Hop, Plan, Watcher
from notifier.sending.rate_limit import RateLimit, SharedBudget
from notifier.sending.retrying import Retrying
from notifier.stores.ledger import DynamoLedger
from notifier.stores.settlements import S3Results

THREADS = 6
"""For calls to AWS that block: settlements, settled and deferred batches."""
FCM_STREAMS = 100
APNS_STREAMS = 1_000
MAX_APPROVED_BYTES = 5_000_000
"""The approval app's batch files name their audience: they are much smaller."""


class SystemClock:
    """The machine's own time."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


class Process:
    """What one process keeps between invocations: clients, credentials, threads, the audience cache."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.background = ThreadPoolExecutor(THREADS, thread_name_prefix="notifier")
        # Row objects that hang would hold all threads: the ledger's writes keep the lease, and must not wait for them.
        self.ledger_background = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 5},
            connect_timeout=5,
            read_timeout=10,
            max_pool_connections=THREADS + 4,
        )
        session = boto3.Session()
        self.s3 = session.client("s3", config=config)
        # All tries together take less than the 20 s after which a worker that could not renew stops sending.
        quick = config.merge(
            Config(connect_timeout=2, read_timeout=4, retries={"mode": "standard", "total_max_attempts": 3})
        )
        self.ledger = DynamoLedger(session.client("dynamodb", config=quick), settings.table, self.clock.now)
        self.results = S3Results(self.s3, settings.bucket)
        self.continuation = LambdaContinuation(session.client("lambda", config=config), settings.worker_function)
        self.announcer = EventBridgeAnnouncer(session.client("events", config=config))
        self.cache = FileCache(Path(settings.cache_dir), settings.cache_max_mb * 1_000_000)
        # Threads of their own: an endpoint that hangs must not keep a settlement waiting.
        threads = ThreadPoolExecutor(len(("fcm", "apns")), thread_name_prefix="credentials")
        patience = config.merge(
            Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
        )
        secrets = Secrets(session.client("secretsmanager", config=patience))
        self.fcm_keys = Keys(
            secrets.reader("fcm", settings.fcm_secret_arn),
            partial(fcm_auth.Credentials, ca_file=settings.gateway_ca_file),
            threads,
            self.clock.now,
        )
        self.apns_keys = Keys(
            secrets.reader("apns", settings.apns_secret_arn), apns_auth.Credentials, threads, self.clock.now
        )
        # The audience itself asks for a stalled range again, six times: botocore's patience would only add to it.
        reading = config.merge(Config(read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}))
        self.library = S3Library(session.client("s3", config=reading), self.cache, partial(role_of, session))

    def begin_credentials(self) -> None:
        """Begin to fetch what a hop needs to ask the gateways: it is there, or nearly, when the run is open.

        A process outlives a run that stopped for its credentials: resumed, the run must meet the corrected secret.
        """
        for keys, arn in (
            (self.fcm_keys, self.settings.fcm_secret_arn),
            (self.apns_keys, self.settings.apns_secret_arn),
        ):
            keys.look_again()
            if arn:
                keys.access(self.clock.now())

    def opening(self) -> Admission:
        """What opens runs."""
        return Admission(
            self.library,
            self.results,
            self.ledger,
            addition_faults,
            rehearse=self.settings.mode is Mode.REHEARSE,
            is_approved=self._is_approved if self.settings.require_approval else lambda _: True,
        )

    def _is_approved(self, source: Source) -> bool:
        return is_approved(source, self.ledger, self.library)


def role_of(session: boto3.Session) -> str:
    """The name of the role that this process has, for whoever has to grant it something. STS tells it to everybody."""
    patience = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1})
    try:
        arn: str = session.client("sts", config=patience).get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError):
        return "the worker's"
    # arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION
    kind, _, name = arn.rpartition(":")[2].partition("/")
    return name.partition("/")[0] if kind == "assumed-role" else arn


def is_approved(source: Source, ledger: DynamoLedger, library: "S3Library") -> bool:
    """Whether exactly these bytes were approved, under this key."""
    approved = ledger.approved_sha256(source.bucket, source.key)
    return approved is not None and library.sha256_of(source) == approved


class S3Library:
    """The objects in S3, as opening and feeding need them."""

    def __init__(self, client: Any, cache: FileCache, role: Callable[[], str] = lambda: "the worker's") -> None:
        self._client = client
        self._cache = cache
        self._role = role
        self._excluded: tuple[tuple[PinnedObject, ...], Any] = ((), frozenset())

    def head(self, source: Source) -> BatchFileHead:
        """The batch file without its users. Raises NotAdmitted."""
        with self._refusing():
            return read_head(self._client, self.pin_source(source), cache=self._cache)

    def sha256_of(self, source: Source) -> str | None:
        """Of the batch file's bytes; None for one that is larger than any that is approved. Raises NotAdmitted.

        An ETag would not do: of an object that is encrypted with a KMS key it says nothing about the bytes.
        """
        pinned = self.pin_source(source)
        if pinned.size > MAX_APPROVED_BYTES:
            return None
        with self._refusing():
            return sha256(b"".join(read_ranges(self._client, pinned, 0, time.sleep))).hexdigest()

    def pin_source(self, source: Source) -> PinnedObject:
        """The very version of the run. Raises NotAdmitted."""
        with self._refusing():
            return pin(self._client, source.bucket, source.key, version_id=source.version_id, etag=source.etag)

    def pin_parts(self, audience: Audience, bucket: str, field: str) -> tuple[PinnedObject, ...]:
        """The parts as they are now, held against the ETags that were stated. Raises NotAdmitted."""
        with self._refusing():
            return pin_parts(self._client, audience.parts, bucket, field)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """What cannot be read as it is refuses the run. AudienceUnreachable passes: the run waits."""
        try:
            yield
        except AudienceDenied as error:
            raise NotAdmitted(f"{error}. The role is {self._role()}") from None
        except (BrokenFile, AudienceChanged) as error:
            raise NotAdmitted(str(error)) from None

    def stream(self, admitted: AdmittedCampaign, cursor: Cursor) -> GuardedStream:
        """The users from a cursor on."""
        kind = FileKind.BATCH_FILE if admitted.inline else FileKind.USERS
        stream = AudienceStream(self._client, admitted.parts, cursor, kind=kind, cache=self._cache)
        return GuardedStream(stream, BrokenInput, InputUnreachable)

    def stream_from_start(self, admitted: AdmittedCampaign) -> GuardedStream:
        """The users from the first on."""
        return self.stream(admitted, Cursor())

    def excluded(self, admitted: AdmittedCampaign) -> Any:
        """The user ids that are not to be asked for. Blocks the first time; a warm process has them already.

        Raises:
            NotAdmitted: a list that cannot be read.
        """
        if admitted.exclude and self._excluded[0] != admitted.exclude:
            try:
                self._excluded = admitted.exclude, read_ids(self._client, admitted.exclude, cache=self._cache)
            except (BrokenFile, AudienceChanged) as error:
                raise NotAdmitted(f"exclude: {error}") from None
        return self._excluded[1] if admitted.exclude else frozenset()


class HopMaker:
    """Makes the hop of one claimed lane."""

    def __init__(self, process: Process, run: Run, lane: Lane, admitted: AdmittedCampaign) -> None:
        self._process = process
        self._run = run
        self._lane = lane
        self._opened = admitted
        self._renderer = Renderer(admitted.campaign)
        settings = process.settings
        self._transport = CurlTransport(endpoints(settings), ca_file=settings.gateway_ca_file)
        now_s = process.clock.monotonic()
        ramp_s = 0.0 if admitted.campaign.test else float(settings.ramp_s)
        sent_for_s = lane.sending_ms / 1000
        self._rate_limit = RateLimit(admitted.campaign.per_second or None, ramp_s, sent_for_s, now_s)
        per_second = float(settings.fcm_per_second)
        self._budget = SharedBudget(RateLimit(per_second, ramp_s, sent_for_s, now_s), per_second, self._ask_alive)

    def _ask_alive(self) -> "Future[int]":
        process = self._process
        return process.background.submit(process.ledger.alive, int(process.clock.now() * 1000))

    def make(self, deadline: Deadline, watcher: Watcher, on_answer: OnAnswer) -> Hop:
        """The hop, ready to run."""
        process, campaign = self._process, self._opened.campaign
        checkpoint = Checkpoint(
            self._lane,
            process.ledger,
            process.results,
            process.background,
            process.ledger_background,
            process.clock,
            (LaneLost,),
        )
        dispatch = Dispatch(
            self._transport,
            self.carriers(),
            checkpoint.health,
            process.clock,
            random.random,
            {"fcm": self._budget},
            process.settings.window,
            on_answer,
        )
        plan = Plan(
            campaign.not_before.timestamp() if campaign.not_before else None,
            campaign.abort_after.timestamp() if campaign.abort_after else None,
        )
        opener = FeedOpener(self._read_settled, self._source)
        retrying = self._retrying(checkpoint)
        return Hop(checkpoint, dispatch, opener, retrying, self._rate_limit, plan, deadline, process.clock, watcher)

    def _retrying(self, checkpoint: Checkpoint) -> Retrying:
        process, run_id, campaign_id = self._process, self._run.run_id, self._opened.campaign.id
        lane, store, background = self._lane, process.results, process.background
        nothing = not (lane.account.deferred or lane.asking or checkpoint.is_old)
        queue = DeferredQueue(store, background, process.clock, run_id, campaign_id, is_listed=nothing)
        return Retrying(queue, store, background, checkpoint, run_id, campaign_id)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def carriers(self) -> Mapping[str, Carrier]:
        """A carrier for each endpoint. One that has no secret says so when it is first needed."""
        process, admitted = self._process, self._opened
        content = RunContent(self._run.run_id, admitted.campaign.id, self._renderer.wording, admitted.rehearse)
        return {
            "fcm": fcm_carrier.carrier("fcm", process.fcm_keys, content),
            "apns": apns_carrier.carrier("apns", process.apns_keys, content),
            "apns-sandbox": apns_carrier.carrier("apns-sandbox", process.apns_keys, content),
        }

    def _read_settled(self, position: Position) -> SkipReader:
        process = self._process
        return SkipReader(process.results, process.background, self._run.run_id, position.cursor, position.suspects)

    def _source(self, position: Position, settled: Mapping[int, Account]) -> BatchSource:
        """The feed of the round that the lane has come to."""
        process, campaign, cursor = self._process, self._opened.campaign, position.cursor
        run_id = self._run.run_id
        suspects = position.suspects
        if cursor.round:
            return EndedFeed(settled)
        arms = Arms(campaign.salt, campaign.arms)
        builder = BatchBuilder(run_id, campaign.id, arms, self._renderer, process.library.excluded(self._opened))
        return AudienceBatches(process.library.stream(self._opened, cursor), builder, settled, suspects)


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The three hosts, as data."""
    apns = {"probe_first": True, "max_connections": settings.apns_connections, "max_streams": APNS_STREAMS}
    return (
        Endpoint(
            name="fcm",
            base_url=settings.fcm_base_url,
            max_connections=settings.fcm_connections,
            max_streams=FCM_STREAMS,
            probe_first=False,
            timeout_ms=settings.request_timeout_ms,
        ),
        Endpoint(name="apns", base_url=settings.apns_base_url, timeout_ms=settings.request_timeout_ms, **apns),  # type: ignore[arg-type]
        Endpoint(
            name="apns-sandbox",
            base_url=settings.apns_sandbox_base_url,
            timeout_ms=settings.request_timeout_ms,
            **apns,  # type: ignore[arg-type]
        ),
    )


__all__ = ["BadSecret", "HopMaker", "Process", "S3Library", "SystemClock", "batch_name", "endpoints"]
