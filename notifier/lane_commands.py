"""Pause, resume and cancel in a run's items: what the ledger writes, and the approval pages where Lambda has no room.

A command is written to each lane of a run, the first lane first. A worker reads it with its next write, at least every
2.5 s; a lane without a worker is changed at once. Who may write these few attributes can stop a run without a function.
"""

from zlib import crc32

from boto3.dynamodb.conditions import Attr, Key

from notifier.dynamodb import Item, Items, Update, item_of, text_of
from notifier.model.run import LANES_VERSION, Control, LaneState

LANE = "lane"
"""The value of `due` of a run's only lane: a partition of the index, which the sweeper reads from its beginning."""
DUE_PARTITIONS = 16
"""Partitions of the index for lanes of runs that have several. Each write of a lane moves it in the index, and one
partition takes 1,000 write units a second: about 40 lanes (docs/scale.md)."""
NO_ROOM = frozenset({"ThrottlingException", "TooManyRequestsException"})
"""Codes of Lambda's refusals for want of concurrency. The very run that is to be stopped may have taken all of it."""
_WAITS_FOR_OPERATOR: tuple[LaneState, ...] = (LaneState.PAUSED, LaneState.STOPPED)
_WAITS = (*_WAITS_FOR_OPERATOR, LaneState.RESTING)


def lane_key(run_id: str, number: int) -> Item:
    """The key of a lane's item."""
    return item_of({"pk": f"run#{run_id}", "sk": f"lane#{number:04d}"})


def number_of_lane(item: Item) -> int:
    """The number of the lane in an item."""
    return int(item["sk"]["S"].removeprefix("lane#"))


def due_partition_of(run_id: str, number: int, *, of_several: bool) -> str:
    """A lane's value of `due`. Neighbouring lanes of a run have different ones."""
    return f"{LANE}#{(crc32(run_id.encode()) + number) % DUE_PARTITIONS:02d}" if of_several else LANE


def command_run(items: Items, run_id: str, control: Control, by: str, at_ms: int) -> list[Item]:
    """Give all lanes of a run a command. Returns those that take it: none if it is unknown, done or cancelled."""
    # Whatever else reaches a lane before it: of a run half of whose lanes are cancelled the others would go on.
    is_final = control is Control.CANCEL
    changed = [command_lane(items, run_id, 0, control, by, at_ms, is_final=is_final)]
    # Read after the first lane was written: lanes that are opened meanwhile are there, or take the command over.
    is_lane = Key("pk").eq(f"run#{run_id}") & Key("sk").begins_with("lane#")
    others = [number for item in items.query(is_lane, ConsistentRead=True) if (number := number_of_lane(item))]
    changed += [command_lane(items, run_id, number, control, by, at_ms, is_final=is_final) for number in others]
    return [item for item in changed if item is not None]


def command_lane(
    items: Items,
    run_id: str,
    number: int,
    control: Control,
    by: str,
    at_ms: int,
    *,
    only_if_going: bool = False,
    is_final: bool = False,
) -> Item | None:
    """Give one lane a command. Returns it as it is then; None where it does not take the command.

    There is no such lane, or it is done; it is cancelled, which no other command takes back: its worker may not have
    read it yet; or it has a later command.

    Args:
        by: who gives the command, for people who look.
        only_if_going: not where another command was given before.
        is_final: also where another command was given later.
    """
    command = Update().set(control=control.value, control_by=by, control_at_ms=at_ms)
    command = command.only_if(Attr("state").ne(LaneState.DONE.value))
    if not is_final:
        # Two commands that reach the lanes of a run at the same time: the later one counts for all of them.
        command = command.only_if(Attr("control_at_ms").not_exists() | Attr("control_at_ms").lte(at_ms))
    if control is not Control.CANCEL:
        command = command.only_if(Attr("control").ne(Control.CANCEL.value))
    if only_if_going:
        command = command.only_if(Attr("control").eq(Control.GO.value))
    written = _update(items, run_id, number, command)
    if written is None:
        return None
    # The command is written first and alone: a worker that claims the lane in between obeys it all the same, and
    # the second write is refused, because the lane is not in the state any more that it was read in.
    effect = _without_worker(control, run_id, number, written, at_ms)
    return (_update(items, run_id, number, effect) if effect is not None else None) or written


def _without_worker(control: Control, run_id: str, number: int, item: Item, now_ms: int) -> Update | None:
    """What a command changes in a lane without a worker. None where its worker will, or nothing is to be done."""
    state = LaneState(text_of(item, "state"))
    match control:
        case Control.GO if state in _WAITS_FOR_OPERATOR:
            waits = _WAITS_FOR_OPERATOR
        # A worker has to close a cancelled run: it settles what is open, and writes the summary.
        case Control.CANCEL if state in _WAITS:
            waits = _WAITS
        case Control.PAUSE if state in (LaneState.READY, LaneState.RESTING):
            # It waits for its next worker. The sweeper must not find it: it is taken from the index.
            paused = Update().set(state=LaneState.PAUSED.value).remove("due", "due_at")
            return paused.only_if(Attr("state").eq(state.value))  # not claimed meanwhile
        case _:
            return None
    # Ready, and due now. An operator has looked at it: claims that settled nothing before count no more.
    due = due_partition_of(run_id, number, of_several="span" in item)
    ready = Update().set(state=LaneState.READY.value, due=due, due_at=now_ms, idle_claims=0)
    return ready.only_if(Attr("state").is_in([waiting.value for waiting in waits]))


def _update(items: Items, run_id: str, number: int, update: Update) -> Item | None:
    # A release must not change the items of a newer one. Of an item that is not there the condition is not met
    # either, so that no command can make one.
    return items.update(lane_key(run_id, number), update.only_if(Attr("version").lte(LANES_VERSION)))
