"""The final cut of a run over a prepared audience: asked for once its time has come, and used by every hop after that.

Suppression is judged twice, and never in conflict: whom the cut removed is in no part any more, so that the worker
cannot count that user again; whoever is suppressed only later is left out, and counted, by the worker.
"""

from collections.abc import Callable

import msgspec

from notifier.lifecycle.admitted import STATE_GONE, AdmittedCampaign, Library, NotAdmitted, StillPreparing
from notifier.model.account import Account
from notifier.model.cursor import Cursor
from notifier.model.cut import CutParts
from notifier.model.ledger import Ledger
from notifier.model.local_time import first_cut_s
from notifier.model.preparation import PreparationState
from notifier.model.run import Lane, Run
from notifier.sending.results import Results

CUT = "cut"
"""The name of the stored cut under `state/`."""


class FinalCut:
    """Has the audience of a run cut when the run begins.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, library: Library, results: Results, ledger: Ledger, now: Callable[[], float]) -> None:
        self._library = library
        self._results = results
        self._ledger = ledger
        self._now = now

    def of(self, run: Run, admitted: AdmittedCampaign, *, begun: bool) -> AdmittedCampaign:
        """The campaign with the parts that are left. A run over an audience that was not prepared has no cut.

        Args:
            begun: an earlier claim settled something, or may have sent something.

        Raises:
            StillPreparing: the run's time has not come, or the cut is being made.
            NotAdmitted: it cannot be made.
        """
        if not admitted.prepared:
            return admitted
        stored = self._results.get_state(run.run_id, CUT)
        if stored is None:
            if begun:
                # What was sent is of the parts of a cut that is gone: of another cut the records would be others.
                raise NotAdmitted(STATE_GONE)
            self._check_time(admitted)
            self._results.put_state(run.run_id, CUT, self._made(run))
            # Read back: another claim may have stored it a moment before. Both are of the one manifest.
            stored = self._results.get_state(run.run_id, CUT)
        if stored is None:
            raise NotAdmitted(STATE_GONE)
        cut = msgspec.json.decode(stored, type=CutParts)
        parts = tuple(part.pinned for part in cut.parts)
        # Nobody of the exclude list is left in the parts: a million ids need not be read.
        return msgspec.structs.replace(
            admitted, parts=parts, exclude=(), excluded_by=cut.excluded_by, timezone_assumed=cut.timezone_assumed
        )

    def _check_time(self, admitted: AdmittedCampaign) -> None:
        campaign = admitted.campaign
        begins_s = campaign.not_before.timestamp() if campaign.not_before else 0.0
        if campaign.local_time is not None and admitted.day is not None:
            begins_s = max(begins_s, float(first_cut_s(campaign.local_time, admitted.day)))
        if self._now() < begins_s:
            # By the lists of the moment when it begins, which may be weeks from now.
            raise StillPreparing("", due_at_ms=int(begins_s * 1000))

    def _made(self, run: Run) -> CutParts:
        preparation = self._ledger.ask_for_cut(run.run_id)
        if not preparation.state.is_over:
            raise StillPreparing(preparation.words)
        self._ledger.end_preparation(run.run_id)
        if preparation.state is not PreparationState.PREPARED:
            raise NotAdmitted(f"final cut: {preparation.reason or 'it was cancelled'}")
        return self._library.cut_parts(preparation.manifest)


def with_cut(lane: Lane, admitted: AdmittedCampaign) -> Lane:
    """The run's first lane, which counts those whom the cut left out; any other lane, or a later claim, as it is."""
    left_out = sum(admitted.excluded_by.values())
    is_counted = lane.lane != 0 or lane.cursor != Cursor() or lane.account.users > 0
    if is_counted or not (left_out or admitted.timezone_assumed):
        return lane
    # A copy: the lane as it was read stays what it is.
    account = msgspec.json.decode(msgspec.json.encode(lane.account), type=Account)
    account.users += left_out
    if admitted.timezone_assumed:
        account.timezone_assumed = admitted.timezone_assumed
    for reason, users in admitted.excluded_by.items():
        account.exclude(reason, users)
    return msgspec.structs.replace(lane, account=account)
