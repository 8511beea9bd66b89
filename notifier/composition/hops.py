"""Makes a lane worker's hops and closes runs, in a process that Lambda runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from notifier.audience import AudienceUnreachable
from notifier.composition.gateways import first_request_limit, lane_shares, open_gateways
from notifier.composition.hop_maker import Observers, Users, make_hop
from notifier.composition.hop_metrics import Observer, ended, suppression_unreadable
from notifier.composition.library import approvers
from notifier.composition.process import Process
from notifier.events.announcement import NotAnnounced
from notifier.lifecycle.admitted import AdmittedCampaign
from notifier.lifecycle.run_closing import close_run
from notifier.model.log import Action
from notifier.model.run import Lane, Run
from notifier.model.runtime import Deadline
from notifier.model.span import Span
from notifier.model.store_error import in_words
from notifier.sending.batch_source import InputUnreachable, SuppressionUnreadable
from notifier.sending.hop import Hop
from notifier.telemetry import Tracing, span, traced


class ProcessHops:
    """The hop factory of a lane worker (`notifier.lifecycle.lane_worker.HopFactory`)."""

    def __init__(self, process: Process, observer: Observer) -> None:
        self._process = process
        self._observer = observer

    @traced("open")
    def open(self, run: Run, lane: Lane) -> AdmittedCampaign:
        """What every hop needs to know. Raises NotAdmitted, InputUnreachable and StoreRefused."""
        process = self._process
        process.keys.begin(process.settings, process.clock.now())
        self._correlate(run)
        try:
            admitted = process.admission().open(run, begun=lane.has_begun)
            # Before the cut is asked for: unreadable, the run waits, and its alarm says so.
            if not admitted.campaign.legal:
                process.library.read_suppression()
            admitted = process.final_cut().of(run, admitted, begun=lane.has_begun)
            # Here, where the lease is kept while they load.
            process.library.excluded(admitted)
        except SuppressionUnreadable:
            self._observer.metrics.emit(suppression_unreadable(), run_id=run.run_id)
            raise
        except (AudienceUnreachable, ClientError, BotoCoreError) as error:
            raise InputUnreachable(f"the run could not be admitted yet: {in_words(error)}") from error
        return admitted

    def lanes(self, run: Run, lane: Lane, admitted: AdmittedCampaign) -> tuple[Span, ...]:
        """What each lane of the run sends; nothing where it has one lane, or they are open. Raises as `open`."""
        try:
            return self._process.lane_plan().of(run, lane, admitted)
        except (AudienceUnreachable, ClientError, BotoCoreError) as error:
            raise InputUnreachable(f"the run's lanes could not be planned yet: {in_words(error)}") from error

    def ask_for_audience(self, run: Run) -> None:
        """Have the audience of a run made, whose lane rests until then. What fails is left to the sweeper."""
        try:
            self._process.audiences.ask(run.run_id)
        except (ClientError, BotoCoreError) as error:
            self._observer.log.warning(Action.TROUBLE, reason=f"the audience function was not asked: {error}")

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
            return  # not an error here: what needs the file reports what is wrong with it
        request_id = head["Metadata"].get("correlation-id")
        if request_id:
            Tracing.current.annotate(request=request_id)
            self._observer.log.request(request_id)

    @contextmanager
    def hop(
        self, run: Run, lane: Lane, admitted: AdmittedCampaign, deadline: Deadline, on_trouble: Callable[[str], None]
    ) -> Iterator[Hop]:
        """The hop of a claimed lane, with its connections open as long as the context."""
        process, settings, ports = self._process, self._process.settings, self._process.ports
        watch = self._observer.hop(lane, admitted.campaign)
        shares = lane_shares(ports, lane)
        gateways = open_gateways(settings, process.keys, ports, lane, admitted, shares)
        library = process.library
        users = Users(
            lambda cursor: library.stream(admitted, cursor, lane.span),
            library.excluded(admitted),
            library.suppressed(admitted),
            # Nobody rather than a share of nothing: then no user is hashed for it.
            admitted.holdout if admitted.holdout.hundredths else frozenset(),
        )
        rate_limit = first_request_limit(settings, ports, lane, admitted, shares)
        observers = Observers(on_trouble, watch.turn, watch.sending.answered)
        try:
            hop = make_hop(ports, gateways, users, rate_limit, lane, admitted, deadline, observers)
            watch.begin(hop)
            with span(Tracing.current, "send"):
                yield hop
                watch.end(hop)
        finally:
            gateways.transport.close()

    @traced("close")
    def close(self, run: Run, lane: Lane) -> None:
        """Write the summary, announce the end. What fails is left to the sweeper: the lane stays due until then."""
        try:
            close(self._process, self._observer, run, lane)
        except (NotAnnounced, ClientError, BotoCoreError) as error:
            self._observer.log.warning(Action.TROUBLE, reason=f"the run is not closed yet: {error}")


def close(process: Process, observer: Observer, run: Run, lane: Lane) -> bool:
    """Close a run whose lanes are all done, and count and log that. Returns whether it did.

    Repeatable: the sweeper does it again when this was cut short.
    """
    whole = close_run(
        process.ledger,
        process.results,
        process.announcer.ended,
        run,
        lane,
        process.settings.bucket,
        partial(approvers, ledger=process.ledger, library=process.library),
        partial(_ask_to_count, process, observer),
    )
    if whole is None:
        observer.log.info(Action.LEFT, why="other lanes are under way", lane=lane.lane)
        return False
    observer.metrics.emit(ended(whole), run_id=run.run_id)
    observer.log.info(Action.CLOSED, status=whole.status, reason=whole.reason)
    return True


def _ask_to_count(process: Process, observer: Observer, run_id: str) -> None:
    """Have a run counted for caps that was entered for it. What fails is left to the sweeper."""
    try:
        process.audiences.ask(run_id)
    except (ClientError, BotoCoreError) as error:
        observer.log.warning(Action.TROUBLE, reason=f"the audience function was not asked: {error}")
