"""One device is put off for an hour, a tenth of the others for some seconds."""

from notifier.model.run import Control, LaneState
from sandbox.faults.scenario import Scenario, Scene


def cancel_when_it_rests(scene: Scene) -> None:
    """Wait until the run rests, check what is still to be asked, and cancel it: an hour is too long for a scenario."""
    ledger = scene.trial.ledger
    while not scene.over.wait(0.2):
        lane = ledger.read_lane(scene.run_id)
        if lane is None or lane.state is not LaneState.RESTING:
            continue
        if lane.account.deferred != 1:
            scene.notes.append(
                f"the run rests for an hour with {lane.account.deferred} devices to be asked, not with 1"
            )
        ledger.set_control(scene.run_id, Control.CANCEL, "the scenario")
        return
    scene.notes.append("the run never came to rest")


SCENARIO = Scenario(
    name="long-retry-after",
    breaks="FCM's first request gets Retry-After 3600; a tenth of the devices get a Retry-After of 3 s.",
    expects="The others are asked after their seconds, the run rests with that one alone; cancelled, it is unsent.",
    behaviour="sandbox.faults.answers:an_hour_for_one",
    act=cancel_when_it_rests,
    users=300,
    status="cancelled",
    all_accepted=False,
)
