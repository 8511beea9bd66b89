"""A run's lanes as one: for its summary, its end, and the people who watch it."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from notifier.model.account import Account
from notifier.model.run import FAILED_BY, Control, Ending, Lane, LaneState
from notifier.model.speed import EndpointSpeed, Speed

_STATES = (LaneState.RUNNING, LaneState.READY, LaneState.STOPPED, LaneState.PAUSED, LaneState.RESTING, LaneState.DONE)
"""The state of a run is the first of these that a lane of it has: while one is at work the run is."""
_ENDINGS = (Ending.FAILED, Ending.CANCELLED, Ending.ABORTED, Ending.COMPLETED)
"""The same of its ending: a run is completed only if all its lanes are."""
_COMMANDS = (Control.CANCEL, Control.PAUSE, Control.GO)


def as_one(lanes: Sequence[Lane]) -> Lane:
    """The lanes of a run as a lane that has sent what all of them have. A run's only lane is returned as it is.

    Its cursor, epoch and lease mean nothing: nothing may be written with it.
    """
    if len(lanes) == 1:
        return lanes[0]
    state = next(state for state in _STATES if any(lane.state is state for lane in lanes))
    is_done = state is LaneState.DONE
    ending = _ending_of(lanes) if is_done else None
    account = Account()
    for lane in lanes:
        account.add(lane.account)
    return msgspec.structs.replace(
        lanes[0],
        state=state,
        ending=ending,
        control=next(command for command in _COMMANDS if any(lane.control is command for lane in lanes)),
        control_by=next((lane.control_by for lane in lanes if lane.control_by), ""),
        control_at_ms=max(_times(lane.control_at_ms for lane in lanes), default=None),
        account=account,
        # Numbers of batches are of the whole audience: those of two lanes never meet.
        suspects=tuple(one for lane in lanes for one in lane.suspects),
        asking=tuple(one for lane in lanes for one in lane.asking or ()),
        hop=sum(lane.hop for lane in lanes),
        sending_ms=sum(lane.sending_ms for lane in lanes),
        started_at_ms=min(_times(lane.started_at_ms for lane in lanes), default=None),
        ended_at_ms=max(_times(lane.ended_at_ms for lane in lanes), default=None) if is_done else None,
        due_at_ms=min(_times(lane.due_at_ms for lane in lanes if lane.state is state), default=None),
        reason=_reason_of(lanes, ending),
        gone_version=next((lane.gone_version for lane in lanes if lane.gone_version), ""),
        speed=_speed_of(lanes),
        trouble=next((lane.trouble for lane in lanes if lane.trouble), ""),
    )


def _speed_of(lanes: Sequence[Lane]) -> Speed | None:
    """The lanes' speed as one: what adds up is added, of percentiles and limits the worst lane counts."""
    found = [lane.speed for lane in lanes if lane.speed is not None]
    if not found:
        return None
    names = {name for speed in found for name in speed.endpoints}
    return msgspec.structs.replace(
        max(found, key=lambda speed: speed.at_ms),
        per_second=sum(one.speed.per_second for one in lanes if one.speed and one.state is LaneState.RUNNING),
        late_ms=min(speed.late_ms for speed in found),
        gaps=sum(speed.gaps for speed in found),
        gaps_ms=sum(speed.gaps_ms for speed in found),
        longest_gap_ms=max(speed.longest_gap_ms for speed in found),
        endpoints={name: _endpoint_of([speed.endpoints.get(name) for speed in found]) for name in sorted(names)},
    )


def _endpoint_of(found: Sequence[EndpointSpeed | None]) -> EndpointSpeed:
    there = [one for one in found if one is not None]
    retries = Counter[str]()
    for one in there:
        retries.update(one.retries)
    limited = [one for one in there if one.limit is not None]
    return EndpointSpeed(
        answers=sum(one.answers for one in there),
        p50_ms=max(one.p50_ms for one in there),
        p99_ms=max(one.p99_ms for one in there),
        limit=sum(one.limit for one in limited if one.limit is not None) if limited else None,
        limited_since_ms=min((one.limited_since_ms for one in limited), default=0),
        limited_ms=max(one.limited_ms for one in there),
        retries=dict(retries),
    )


def _ending_of(lanes: Sequence[Lane]) -> Ending:
    # The lane that failed may have been cancelled, too, before it could write that: by what it had passed on itself.
    if any(lane.control_by.startswith(FAILED_BY) and lane.ending is Ending.CANCELLED for lane in lanes):
        return Ending.FAILED
    return next(ending for ending in _ENDINGS if any(lane.ending is ending for lane in lanes))


def _reason_of(lanes: Sequence[Lane], ending: Ending | None) -> str | None:
    """The reason of the lane that decided the ending; of a run that is not over, of the one that needs an operator."""
    if ending is not None:
        found = next((lane.reason for lane in lanes if lane.ending is ending and lane.reason), None)
        passed_on = (lane.control_by for lane in lanes if lane.control_by.startswith(FAILED_BY))
        return found or (next(passed_on, None) if ending is Ending.FAILED else None)
    for state in (LaneState.STOPPED, LaneState.RESTING, LaneState.READY):
        for lane in lanes:
            if lane.state is state and lane.reason:
                return lane.reason
    return None


def _times(found: Iterable[int | None]) -> list[int]:
    return [at_ms for at_ms in found if at_ms is not None]


def slowest(lanes: Sequence[Lane]) -> Lane | None:
    """Of several lanes that are not all done, the one that has the least of its own records behind it."""
    under_way = [lane for lane in lanes if lane.state is not LaneState.DONE]
    if len(lanes) == 1 or not under_way:
        return None
    return min(under_way, key=_share_read)


def _share_read(lane: Lane) -> float:
    """The share of the lane's records that the cursor has passed."""
    if lane.span is None or lane.cursor.round:
        return 1.0
    return (lane.cursor.record - lane.span.first) / max(lane.span.end - lane.span.first, 1)
