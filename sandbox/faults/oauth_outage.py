"""Google's token endpoint answers with pages of HTML for most of a minute."""

from notifier.model.run import LaneState
from sandbox.faults.scenario import Scenario, Scene


def watch(scene: Scene) -> None:
    """The lane must rest meanwhile, and say why: waiting at a standstill is paid for."""
    while not scene.over.wait(0.2):
        lane = scene.trial.ledger.read_lane(scene.run_id)
        if lane is not None and lane.state is LaneState.RESTING and "token endpoint answers 502" in (lane.reason or ""):
            return
    scene.notes.append("the lane rested, and said that it waits for the token endpoint")


SCENARIO = Scenario(
    name="oauth-outage",
    breaks="Google's token endpoint answers 502 with a page of HTML for 45 s, from the cold start on.",
    expects="iPhones are sent to; then the lane rests, unpaid, until tokens are there; no device is asked twice.",
    oauth="sandbox.faults.tokens:pages",
    act=watch,
    variables={"FCM_CONNECTIONS": "12"},
    max_hops=3,
    give_up_s=240.0,
)
