"""The version of the code that a run began with is deleted while the run is under way."""

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, Scene


def delete_the_version(scene: Scene) -> None:
    """Deploy, kill the workers, and delete the version: nothing is left that could continue its run."""
    functions = scene.trial.sandbox.lambda_.functions
    name = scene.trial.sandbox.function("WorkerFunction").name
    scene.wait_for_requests()
    known = functions.get(name)
    begun_with = known.aliases[known.alias]
    functions.redeploy(known.setup)
    functions.kill_environments(name)
    functions.delete_version(name, begun_with)


def check(scene: Scene) -> None:
    """The ledger says what became of the version."""
    lane = scene.trial.ledger.read_lane(scene.run_id)
    if lane is None or not lane.gone_version or lane.function_version == lane.gone_version:
        scene.notes.append(f"the lane names the version that was deleted, and the one that goes on: {lane}")


SCENARIO = Scenario(
    name="lane-version-gone",
    breaks="The version of the code that a run began with is deleted while the run is under way.",
    expects="The run goes on with the current version, and says so; the sweeper still serves all other runs.",
    act=delete_the_version,
    finish=check,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
)
