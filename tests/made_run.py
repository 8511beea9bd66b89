"""Runs in S3 as a worker leaves them, made by its own code in seconds: only the gateways' answers are made up."""

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from approval.request import batch_file, content_hash
from notifier.audience.ids import IdSet
from notifier.content.render import Renderer
from notifier.gateway.carrier import push_id
from notifier.lifecycle.admitted import AdmittedCampaign
from notifier.model.account import Account
from notifier.model.arms import Arms
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Campaign, Part
from notifier.model.cursor import Cursor
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.outcome import Outcome, timestamp
from notifier.model.recipient import Gateway
from notifier.model.run import Ending, Lane, LaneState, Run, Source, source_of
from notifier.model.summary import summary_of
from notifier.sending.batch import BATCH_SIZE, Batch, Push
from notifier.sending.batch_builder import BatchBuilder
from notifier.stores.s3_results import S3Results

DEAD_SHARE, FAILED_SHARE, DEFERRED_SHARE = 0.04, 0.01, 0.02
EPOCH = 3


class MadeRun(msgspec.Struct, frozen=True):
    """A run that is over, in a bucket."""

    client: Any
    bucket: str
    run_id: str
    source: Source
    admitted: AdmittedCampaign
    account: Account


def make_run(
    client: Any,
    bucket: str,
    campaign: Campaign,
    parts: Sequence[Iterable[object]],
    now_s: float,
    *,
    suppressed: Sequence[str] = (),
    exclude: Sequence[str] = (),
    ending: Ending = Ending.COMPLETED,
    approved: bool = True,
    approved_hash: str = "",
    folder: str = "",
    holdout: Holdout = NOBODY,
    progress: Callable[[int], object] = lambda _: None,
) -> MadeRun:
    """A run over parts of users, which are read twice.

    `exclude` are the user ids of the campaign's list, `suppressed` those of the stack's.

    A run with another ending than `completed` leaves deferred devices unsent, and its last batch unsettled.
    """
    folder = folder or f"audiences/{campaign.id}"
    pinned = tuple(_put_lines(client, bucket, f"{folder}/{n:05d}.jsonl", part) for n, part in enumerate(parts))
    left_out = (_put_lines(client, bucket, f"{folder}/exclude.jsonl", exclude),) if exclude else ()
    named = tuple(Part(one.key, one.bucket, one.version_id, one.etag) for one in pinned)
    metadata = {"content-hash": approved_hash or content_hash(campaign, named)} if approved else {}
    key = f"batches/{campaign.id}.json"
    put = client.put_object(Bucket=bucket, Key=key, Body=batch_file(campaign, named), Metadata=metadata)
    source = source_of(bucket, key, put.get("VersionId"), put["ETag"])
    admitted = AdmittedCampaign(campaign, pinned, False, left_out, False, holdout=holdout)
    results = S3Results(client, bucket)
    results.put_state(source.run_id, "campaign", admitted)
    sender = Sender(results, source.run_id, admitted, IdSet(exclude), IdSet(suppressed), now_s)
    account = sender.send(itertools.chain.from_iterable(parts), ending, progress)
    close(results, source, campaign, account, now_s, bucket, ending)
    return MadeRun(client, bucket, source.run_id, source, admitted, account)


def close(
    results: S3Results,
    source: Source,
    campaign: Campaign,
    account: Account,
    now_s: float,
    bucket: str,
    ending: Ending = Ending.COMPLETED,
) -> None:
    """Write the summary of a run that is over."""
    lane = Lane(
        source.run_id,
        state=LaneState.DONE,
        ending=ending,
        account=account,
        hop=1,
        started_at_ms=int(now_s * 1000),
        ended_at_ms=int(now_s * 1000) + 60_000,
        sending_ms=60_000,
    )
    run = Run(source.run_id, source, int(now_s * 1000), campaign_id=campaign.id)
    results.put_summary(source.run_id, summary_of(run, lane, bucket))


def _put_lines(client: Any, bucket: str, key: str, values: Iterable[object]) -> PinnedObject:
    body = b"".join(msgspec.json.encode(value) + b"\n" for value in values)
    put = client.put_object(Bucket=bucket, Key=key, Body=body)
    return PinnedObject(bucket, key, put.get("VersionId"), put["ETag"].strip('"'), len(body))


class Sender:
    """Sends batches, with made-up answers, and settles them."""

    def __init__(
        self,
        results: S3Results,
        run_id: str,
        admitted: AdmittedCampaign,
        exclude: IdSet,
        suppressed: IdSet,
        now_s: float,
    ) -> None:
        campaign = admitted.campaign
        arms = Arms(campaign.salt, campaign.arms)
        self._results = results
        self._builder = BatchBuilder(
            run_id, campaign.id, arms, Renderer(campaign), exclude, suppressed, admitted.holdout
        )
        self._chance = random.Random(17)
        self._at = now_s

    def send(
        self, users: Iterable[object], ending: Ending, progress: Callable[[int], object], first: int = 0
    ) -> Account:
        """All users, from a batch of this number on; what it comes to."""
        account = Account()
        stops = ending is not Ending.COMPLETED
        rest = iter(users)
        records = list(itertools.islice(rest, BATCH_SIZE))
        for number in itertools.count(first):
            following = list(itertools.islice(rest, BATCH_SIZE))
            if not records or (stops and not following):
                break
            batch = self._builder.form(number, number * BATCH_SIZE, records, Cursor())
            records = following
            self._settle(batch, account, defers=True)
            if batch.deferred and not stops:
                later = Batch(batch.run_id, batch.campaign_id, number, 1, Cursor())
                later.account.deferred = -len(batch.deferred)
                for push in batch.deferred:
                    later.add(push)
                self._settle(later, account, defers=False)
            progress(number)
        return account

    def _settle(self, batch: Batch, account: Account, *, defers: bool) -> None:
        while batch.waiting:
            self._answer(batch, batch.waiting.popleft(), defers=defers)
        self._results.settle(batch, EPOCH)
        account.add(batch.account)

    def _answer(self, batch: Batch, push: Push, *, defers: bool) -> None:
        self._at += 0.0001
        at, draw = timestamp(self._at), self._chance.random()
        if push.is_control:
            batch.hold(push, at)
            return
        if defers and draw < DEFERRED_SHARE:
            batch.open -= 1
            batch.deferred.append(push)
            batch.account.deferred += 1
            return
        push.attempts += 1
        push.asked_as = push_id(push.name) if push.device.carrier is Gateway.APNS else None
        if draw > 1 - DEAD_SHARE:
            batch.record_outcome(push, Outcome.REJECTED, "UNREGISTERED", at, 404)
            batch.record_dead_token(push, "UNREGISTERED", None)
        elif draw > 1 - DEAD_SHARE - FAILED_SHARE:
            batch.record_outcome(
                push, Outcome.FAILED, "unanswered" if draw < 1 - DEAD_SHARE - 0.005 else "too_late", at
            )
        else:
            batch.record_outcome(push, Outcome.ACCEPTED, None, at, 200, f"m-{push.record}")
