"""What an operator should do about a run that does not end well by itself."""

from notifier.model.run import Ending, Lane, LaneState

NEXT_STEP = {
    LaneState.PAUSED: "`notifier resume {run}` goes on, `notifier cancel {run}` ends it",
    LaneState.STOPPED: "fix the reason, then `notifier resume {run}`; or `notifier cancel {run}`",
    LaneState.RESTING: "nothing: it continues by itself",
}

NEW_CAMPAIGN = (
    "`notifier cancel {run}`, fix the file, give it a new id and exclude every user who has a row, as "
    "docs/operations.md says (It broke off)"
)
STOPPED_FOR = {
    "payload_refused": f"a run keeps its message: {NEW_CAMPAIGN}",
    "wrong_sender": (
        "put the key of the app's own Firebase project into the FCM secret, then `notifier resume {run}`; if the tokens"
        f" are another project's: {NEW_CAMPAIGN}"
    ),
    "wrong_tokens": f"these tokens are not FCM's; perhaps APNs' tokens under the platform android: {NEW_CAMPAIGN}",
    "rows_refused": "do what the reason says, then `notifier resume {run}`: it sends once rows can be written",
    "state_refused": "do what the reason says, then `notifier resume {run}`",
    "no_progress": "see the reason and the log for what failed last; then `notifier resume {run}`",
    "wrong_topic": (
        "put the app's bundle id into the APNs secret as its topic, then `notifier resume {run}`; if the tokens are"
        f" another app's: {NEW_CAMPAIGN}"
    ),
    "wrong_environment": (
        "devices of development builds need `environment: sandbox` in the file, the others must not have it, and"
        f" ApnsBaseUrl must be Apple's; a run keeps both: {NEW_CAMPAIGN}"
    ),
}
"""What to do about a stopped run, by the first word of its reason. For any other reason `NEXT_STEP` is right."""

NOTHING_SENT = "nothing was sent: fix the reason and drop the file again"
PARTLY_SENT = (
    "fix the file; every user with a row was asked already: give it a new id and exclude them, as docs/operations.md "
    "says (It broke off)"
)


def next_step(lane: Lane) -> str:
    """What an operator should do about a run; empty for nothing, as long as it sends and once it ended well."""
    if lane.ending is Ending.FAILED:
        return PARTLY_SENT if lane.account.devices else NOTHING_SENT
    if lane.ending:
        return ""
    step = NEXT_STEP.get(lane.state, "")
    if lane.state is LaneState.STOPPED:
        step = STOPPED_FOR.get((lane.reason or "").partition(":")[0], step)
    return step.format(run=lane.run_id)
