"""Where a lane worker's hops are made and runs are closed: between the use cases and the parts of one process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from notifier.audience import AudienceUnreachable
from notifier.composition.hop_watch import Observer, ended
from notifier.composition.process import HopMaker, Process
from notifier.events.announcement import NotAnnounced
from notifier.lifecycle.admission import AdmittedCampaign
from notifier.model.log import Action
from notifier.model.run import Lane, Run
from notifier.model.runtime import Deadline
from notifier.model.store_error import in_words
from notifier.model.summary import summary_of
from notifier.sending.batch_source import InputUnreachable
from notifier.sending.hop import Hop
from notifier.telemetry import Tracing, span, traced


class ProcessHops:
    """Where a lane worker's hops are made and its runs are closed."""

    def __init__(self, process: Process, observer: Observer) -> None:
        self._process = process
        self._observer = observer

    @traced("open")
    def open(self, run: Run, lane: Lane) -> AdmittedCampaign:
        """What every hop needs to know. Raises NotAdmitted, InputUnreachable and StoreRefused."""
        self._process.begin_credentials()
        self._correlate(run)
        try:
            admitted = self._process.opening().open(run, begun=lane.has_begun)
            self._process.library.excluded(admitted)  # here, where the lease is kept while it loads
        except (AudienceUnreachable, ClientError, BotoCoreError) as error:
            raise InputUnreachable(f"the run could not be admitted yet: {in_words(error)}") from error
        return admitted

    def prove_writable(self, run: Run) -> None:
        """Prove that this run's batches could be settled. Raises StoreRefused."""
        self._process.results.prove_writable(run.run_id)

    def _correlate(self, run: Run) -> None:
        """A file that the approval app wrote names its request: with it, one search finds form, approval and hops."""
        source = run.source
        version: Any = {"VersionId": source.version_id} if source.version_id else {}
        try:
            head = self._process.s3.head_object(Bucket=source.bucket, Key=source.key, **version)
        except (ClientError, BotoCoreError):
            return  # whoever needs the file will say what is wrong with it
        request_id = head["Metadata"].get("correlation-id")
        if request_id:
            Tracing.current.annotate(request=request_id)
            self._observer.log.request(request_id)

    @contextmanager
    def hop(self, run: Run, lane: Lane, admitted: AdmittedCampaign, deadline: Deadline) -> Iterator[Hop]:
        """The hop of a claimed lane, with its connections."""
        with self._observer.hop(lane, admitted.campaign.id) as watch:
            maker = HopMaker(self._process, run, lane, admitted)
            try:
                hop = maker.make(deadline, watch, watch.sending.answered)
                watch.begin(hop)
                with span(Tracing.current, "send"):
                    yield hop
                    watch.end(hop)
            finally:
                maker.close()

    @traced("close")
    def close(self, run: Run, lane: Lane) -> None:
        """Write the summary, announce the end. What fails is left to the sweeper: the lane stays due until then."""
        try:
            close(self._process, self._observer, run, lane)
        except (NotAnnounced, ClientError, BotoCoreError) as error:
            self._observer.log.warning(Action.TROUBLE, reason=f"the run is not closed yet: {error}")


def close(process: Process, observer: Observer, run: Run, lane: Lane) -> None:
    """Write the summary and announce the end. Repeatable: the sweeper does it again when this was cut short."""
    current = process.ledger.read_run(run.run_id) or run
    summary = summary_of(current, lane, process.settings.bucket)
    key = process.results.put_summary(run.run_id, summary)
    process.announcer.ended(run.run_id, summary)
    process.ledger.close_run(run.run_id, lane.lane)
    observer.metrics.emit(ended(lane), run_id=run.run_id)
    observer.log.info(Action.CLOSED, status=lane.status, reason=lane.reason, summary=key)
