"""A run's end, once every lane of it is done: its summary, its announcement, its count for caps."""

from collections.abc import Callable

from notifier.model.ledger import Ledger
from notifier.model.run import COUNTED_BY_CUT, COUNTED_BY_ROWS, Ending, Lane, LaneState, Run, Source
from notifier.model.summary import Summary, summary_of
from notifier.model.whole_run import as_one
from notifier.sending.results import Results


def close_run(
    ledger: Ledger,
    results: Results,
    announce: Callable[[str, Summary], object],
    run: Run,
    lane: Lane,
    bucket: str,
    approved_by: Callable[[Source], str] = lambda _: "",
    ask_to_count: Callable[[str], object] = lambda _: None,
) -> Lane | None:
    """Write the summary, announce the end, and only then note that the run is closed: cut short, it is done again.

    Args:
        lane: one that is done.
        announce: announces the end of the run with this id, at least once.
        approved_by: who approved the batch file; empty for nobody.
        ask_to_count: has a preparation made, which counts the run for caps.

    Returns the run's lanes as one; None where others are not done: the last one closes the run.
    """
    # Read after the lane was done: of two that end at the same time at least one finds both done.
    lanes = ledger.lanes_of(run.run_id)
    if any(other.state is not LaneState.DONE for other in lanes):
        ledger.await_others(lane)
        return None
    current = ledger.read_run(run.run_id) or run
    summary = summary_of(current, lanes, bucket, approved_by(current.source))
    results.put_summary(run.run_id, summary)
    whole = as_one(lanes)
    if is_counted_late(current, whole.ending):
        ask_to_count(ledger.ask_for_count(run.run_id, whole.started_at_ms or current.created_at_ms))
    announce(run.run_id, summary)
    ledger.close_run(run.run_id, [other.lane for other in lanes])
    return whole


def is_counted_late(run: Run, ending: Ending | None) -> bool:
    """Whether the end of a run changes what it counts for caps."""
    if run.counted_by == COUNTED_BY_CUT:
        # The cut counted all whom the run was to reach.
        return ending is not Ending.COMPLETED
    return run.counted_by == COUNTED_BY_ROWS
