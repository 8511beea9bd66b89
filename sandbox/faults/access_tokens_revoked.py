"""Google makes the access token worthless while it is in use."""

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, Scene


def revoke(scene: Scene) -> None:
    """As soon as something was accepted."""
    while not scene.over.wait(0.1):
        if scene.trial.gateways.counts().fcm.accepted_tokens > 100:
            scene.trial.gateways.revoke()
            return
    scene.notes.append("something was accepted before the end")


SCENARIO = Scenario(
    name="access-tokens-revoked",
    breaks="Google makes the access token worthless while it is in use.",
    expects="It is renewed once, and what was refused is asked for again.",
    act=revoke,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
)
