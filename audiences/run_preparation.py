"""One attempt at the preparation of a run's audience: under a lease; its end wakes the run's lane.

Any step may be the last one: a killed attempt is taken up again by the sweeper, which asks for each preparation whose
lease has ended, and for each whose end the worker has not seen.
"""

import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import msgspec

from audiences.cap_locks import GroupLocked
from audiences.engines.port import Unavailable
from audiences.faults import AudienceFault, BrokenFile
from audiences.run_cut import SuppressionUnread
from audiences.store import AttemptLost, PreparationStore, Waiting
from audiences.warehouse import Queries, StillQuerying
from notifier.model.audience_faults import AudienceChanged, AudienceDenied, AudienceUnreachable
from notifier.model.plurals import counted
from notifier.model.preparation import MAX_ATTEMPTS, Preparation, PreparationState, Stage
from notifier.preparation_items import is_order

RENEW_EVERY_S = 15.0
ORDER_RENEWED_EVERY_S = 2.0
"""Of an order of the pages, which show its progress."""
MAX_LINE = 500
_FINAL = (AudienceFault, BrokenFile, AudienceChanged, AudienceDenied)
"""What no later attempt could do better, but for an answer of a warehouse that it would give later."""

Progress = Callable[[str, int], object]


Maker = Callable[[Preparation, Path, Progress], str]
"""Makes what a preparation asks for, in a directory, and returns its manifest's key. It raises StillQuerying where a
warehouse has not ended. `audiences.app` makes audiences of S3, DuckDB and the stack's warehouses, `audiences.run_cut`
final cuts.
"""
Stop = Callable[[Queries], object]
"""Stops queries that nobody wants any more. Raises Unavailable: later."""
Nudge = Callable[[str, str, str], object]
"""Invokes the worker for a lane that is ready: the worker's name, the run, the version of the code."""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of an invocation, for the log and for people who invoke by hand."""

    status: str
    run_id: str
    reason: str | None = None
    manifest: str | None = None


class RunPreparation:
    """Prepares audiences of runs, one at a time.

    Args:
        makers: by what a preparation makes.
        work: a directory; everything below it is deleted before an attempt.
    """

    def __init__(
        self,
        store: PreparationStore,
        makers: Mapping[Stage, Maker],
        nudge: Nudge,
        work: Path,
        stop: Stop = lambda _queries: None,
    ) -> None:
        self._store = store
        self._makers = makers
        self._nudge = nudge
        self._work = work
        self._stop = stop

    def handle_end_of_query(self, execution: str) -> Outcome:
        """Go on with the preparation whose query has ended; a query of anybody else's is none of ours."""
        run_id = self._store.run_of_query(execution)
        if run_id is None:
            return Outcome("ignored", "", "no run has asked for this query")
        return self.handle(run_id, "")

    def handle(self, run_id: str, worker: str) -> Outcome:
        """Make the audience of a run, unless it is made, or another attempt is at it; then wake the run's lane.

        Raises:
            Exception: what a later attempt may do better than this one; the sweeper asks for it.
        """
        found = self._store.read(run_id)
        if found is None:
            return Outcome("ignored", run_id, "this run has no preparation")
        worker = worker or found.worker
        if found.state is PreparationState.CANCELLED and found.queries:
            self._stop(Queries.decode(found.queries))
            self._store.forget_queries(run_id)
        if found.state.is_over or self._store.give_up(found):
            # Asked for again: the attempt that ended it was killed before it woke the lane.
            return self._wake(run_id, worker)
        if (hold := self._store.read_hold()) is not None:
            # It stays due: the sweeper asks for it in the minute after the release.
            return Outcome("held", run_id, hold.words)
        owner = uuid4().hex
        claimed = self._store.claim(found, owner)
        if claimed is None:
            return Outcome("ignored", run_id, "another attempt has the lease")
        try:
            self._attempt(claimed, owner)
        except StillQuerying as waiting:
            return self._leave(claimed, worker, waiting)
        except AttemptLost:
            return Outcome("lost", run_id, "the run was cancelled, or another attempt has begun")
        return self._wake(run_id, worker)

    def _attempt(self, claimed: Preparation, owner: str) -> None:
        """Make the audience, and note how that ended."""
        run_id = claimed.run_id
        # What an attempt left that was killed in this environment would take the room of this one.
        shutil.rmtree(self._work, ignore_errors=True)
        lease = Lease(self._store, run_id, owner, ORDER_RENEWED_EVERY_S if is_order(run_id) else RENEW_EVERY_S)
        try:
            with lease:
                manifest = self._makers[claimed.stage](claimed, self._work / run_id, lease.progress)
        except (AttemptLost, StillQuerying):
            raise
        except (SuppressionUnread, GroupLocked) as error:
            # However long it lasts: the run is neither failed for it nor sent without.
            self._store.postpone(claimed, str(error))
        except Exception as error:
            if isinstance(error, _FINAL) and not isinstance(error, Unavailable):
                # The same again for every attempt: the file's author has to change something.
                self._store.end(run_id, owner, reason=in_words(error))
                return
            reason = in_words(error)
            if claimed.attempts >= MAX_ATTEMPTS:
                self._store.end(run_id, owner, reason=f"after {MAX_ATTEMPTS} attempts: {reason}")
                return
            with suppress(AttemptLost):
                self._store.put_back(run_id, owner, reason)
            raise
        else:
            self._store.end(run_id, owner, manifest=manifest)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def _leave(self, claimed: Preparation, worker: str, waiting: StillQuerying) -> Outcome:
        """Keep what warehouses run for it, and end without waiting; of a run that was cancelled meanwhile, stop it."""
        queries = waiting.queries
        try:
            self._store.wait(claimed, Waiting(queries.encode(), queries.executions, worker, waiting.words))
        except AttemptLost:
            found = self._store.read(claimed.run_id)
            # Another attempt goes on with the same queries: the same tokens have started them once.
            if found is not None and found.state is PreparationState.CANCELLED:
                self._stop(queries)
            return Outcome("lost", claimed.run_id, "the run was cancelled, or another attempt has begun")
        return Outcome("querying", claimed.run_id, waiting.words)

    def _wake(self, run_id: str, worker: str) -> Outcome:
        """Make the lane ready, then nudge it: killed in between, the sweeper finds a lane that is due."""
        version = self._store.wake_lane(run_id)
        found = self._store.read(run_id)
        if version is not None and worker:
            self._nudge(worker, run_id, version)
        if found is None:
            return Outcome("ignored", run_id)
        return Outcome(found.state.value, run_id, found.reason or None, found.manifest or None)


class Lease:
    """Renews an attempt's lease in a thread, and stops the attempt's next step where that is refused."""

    def __init__(self, store: PreparationStore, run_id: str, owner: str, every_s: float = RENEW_EVERY_S) -> None:
        self._store = store
        self._run_id = run_id
        self._owner = owner
        self._every_s = every_s
        self._doing = ""
        self._over = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def progress(self, what: str, users: int) -> None:
        """Say what is done. Raises AttemptLost once the lease is lost: nothing more is to be made."""
        self._doing = f"{what}, {counted(users, 'user')}" if users else what
        if self._lost.is_set():
            raise AttemptLost(self._run_id)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._store.renew(self._run_id, self._owner, self._doing)
            except AttemptLost:
                self._lost.set()
                return
            except Exception:  # noqa: BLE001, S112 - the table does not answer: the lease lasts for several tries
                continue


def in_words(error: Exception) -> str:
    """An error for people: what is wrong, and what to do."""
    if isinstance(error, AudienceFault):
        return f"{error.problem} ({error.mend})" if error.mend else error.problem
    if isinstance(error, BrokenFile | AudienceChanged | AudienceUnreachable):
        return str(error)
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        answer = response.get("Error", {})
        return f"{answer.get('Code', '')}: {answer.get('Message', '')}"
    return str(error)[:MAX_LINE] or "it broke off without a message"
