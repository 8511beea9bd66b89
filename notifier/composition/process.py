"""What one process keeps between invocations: clients of AWS, stores, threads, credentials, the audience cache."""

import random
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from notifier.audience import FileCache, Suppression
from notifier.composition.gateways import GatewayKeys, gateway_keys
from notifier.composition.hop_maker import Ports
from notifier.composition.library import S3Library, is_approved, is_decided, role_of
from notifier.composition.settings import Mode, Settings
from notifier.events.announcement import EventBridgeAnnouncer
from notifier.events.audience_call import AudienceCall
from notifier.events.concurrency import read_concurrency
from notifier.events.continuation import LambdaContinuation
from notifier.gateway.additions import addition_faults
from notifier.lifecycle.admission import Admission
from notifier.lifecycle.final_cut import FinalCut
from notifier.lifecycle.lane_plan import LanePlan
from notifier.model.caps import CapDefaults, read_defaults
from notifier.model.holdout import Holdout
from notifier.model.kept_days import read_kept_days
from notifier.model.ledger import Ledger
from notifier.model.run import Source
from notifier.model.runtime import Clock
from notifier.sending.batch import BATCH_SIZE
from notifier.sending.results import Results
from notifier.stores.direct_put import DirectPut
from notifier.stores.ledger import DynamoLedger
from notifier.stores.s3_results import S3Results

THREADS = 6
"""For calls to AWS that block: settlements, settled and deferred batches."""


class SystemClock:
    """The machine's own time."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


@dataclass(frozen=True)
class Process:
    """The parts that every invocation of a process uses.

    Args:
        s3: a boto3 S3 client.
        lambda_: a boto3 Lambda client.
    """

    settings: Settings
    clock: Clock
    background: Executor
    ledger_background: Executor
    ledger: Ledger
    results: Results
    library: S3Library
    continuation: LambdaContinuation
    announcer: EventBridgeAnnouncer
    audiences: AudienceCall
    keys: GatewayKeys
    s3: Any
    lambda_: Any = None

    @property
    def ports(self) -> Ports:
        """What a hop is made with."""
        return Ports(
            ledger=self.ledger,
            results=self.results,
            background=self.background,
            ledger_background=self.ledger_background,
            clock=self.clock,
            draw=random.random,
            window=self.settings.window,
            batch_size=BATCH_SIZE,
        )

    def admission(self) -> Admission:
        """What opens runs."""
        return Admission(
            self.library,
            self.results,
            self.ledger,
            addition_faults,
            rehearse=self.settings.mode is Mode.REHEARSE,
            is_approved=self._approval_check(),
            may_prepare=self.audiences.is_there,
            # What was approved must say what is run: a file with its own SQL does, but approvers do not read SQL.
            may_run_sql=not self.settings.require_approval,
            holdout=Holdout(self.settings.holdout_percent, self.settings.holdout_version),
            cap_defaults=self._cap_defaults,
            kept=lambda: read_kept_days(self.audiences.environment()),
            is_decided=partial(is_decided, ledger=self.ledger, library=self.library),
            now=self.clock.now,
        )

    def _cap_defaults(self) -> CapDefaults:
        """What the stack sets for campaigns. Raises ValueError."""
        return read_defaults(self.audiences.environment())

    def lane_plan(self) -> LanePlan:
        """What plans the lanes of a run that begins."""
        return LanePlan(self.library, self.results, self.ledger, self._room_for_lanes)

    def _room_for_lanes(self) -> int:
        """How many lanes the account's concurrency allows besides those that work already."""
        allowed = read_concurrency(self.lambda_, self.settings.worker_function).for_lanes
        # This lane is among those that work.
        return max(allowed - self.ledger.alive(int(self.clock.now() * 1000)) + 1, 1)

    def final_cut(self) -> FinalCut:
        """What cuts prepared audiences when their runs begin."""
        return FinalCut(self.library, self.results, self.ledger, self.clock.now)

    def _approval_check(self) -> Callable[[Source], bool]:
        """Whether a file is approved; every file is, where the deployment asks for no approval."""
        if self.settings.require_approval:
            return partial(is_approved, ledger=self.ledger, library=self.library)
        return lambda _: True


class ClientOnUse:
    """A client of AWS that is made when it is first used: each costs 10 to 20 ms, which no first push should wait for.

    For the main thread only: boto3's sessions are not thread-safe.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @cached_property
    def _client(self) -> Any:
        return self._make()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def aws_process(settings: Settings) -> Process:
    """The process as Lambda runs it. Makes the clients that every run needs; calls nothing."""
    clock, session = SystemClock(), boto3.Session()
    config = Config(
        # Patient, because a thread waits and not the loop. Clients whose calls are waited for have less below.
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=5,
        read_timeout=10,
        # A few more than there are threads: the main thread calls with the same clients.
        max_pool_connections=THREADS + 4,
    )
    s3 = session.client("s3", config=config)
    # The audience itself asks for a stalled range again, six times: botocore's patience would only add to it.
    audience_s3 = session.client("s3", config=_patience(config, 5, 5, tries=2))
    lambda_ = ClientOnUse(partial(session.client, "lambda", config=config))
    cache = FileCache(Path(settings.cache_dir), settings.cache_max_mb * 1_000_000)
    return Process(
        settings=settings,
        clock=clock,
        background=ThreadPoolExecutor(THREADS, thread_name_prefix="notifier"),
        # Row objects that hang would hold all threads: the ledger's writes keep the lease, and must not wait for them.
        ledger_background=ThreadPoolExecutor(1, thread_name_prefix="ledger"),
        # 3 × (2 + 4) s + backoff of at most 3 s: over long before the lease (30 s), so that a write that hangs is tried
        # again in time. A worker that could not renew stops sending after 20 s (`BLIND_MS`).
        ledger=DynamoLedger(
            session.client("dynamodb", config=_patience(config, 2, 4, tries=3)), settings.table, clock.now
        ),
        results=S3Results(s3, settings.bucket, direct=DirectPut(s3, settings.bucket, session.get_credentials())),
        library=S3Library(
            audience_s3,
            cache,
            settings.bucket,
            Suppression(audience_s3, settings.bucket, settings.suppression_prefix, cache),
            partial(role_of, session),
        ),
        continuation=LambdaContinuation(lambda_, settings.worker_function),
        audiences=AudienceCall(lambda_, settings.audience_function, settings.worker_function),
        announcer=EventBridgeAnnouncer(ClientOnUse(partial(session.client, "events", config=config))),
        keys=gateway_keys(settings, session.client("secretsmanager", config=_patience(config, 3, 5, tries=2)), clock),
        s3=s3,
        lambda_=lambda_,
    )


def _patience(config: Config, connect_s: float, read_s: float, *, tries: int) -> Config:
    """The configuration with other time limits for one call, and for its repetition by botocore."""
    retries: Any = {"mode": "standard", "total_max_attempts": tries}
    merged: Config = config.merge(Config(connect_timeout=connect_s, read_timeout=read_s, retries=retries))
    return merged
