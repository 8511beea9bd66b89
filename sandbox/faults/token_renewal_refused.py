"""Google refuses the service account's key when an access token is asked for."""

import json

from sandbox.faults.scenario import Scenario, Scene
from sandbox.trial import Trial

SECRET = "notifier/fcm"


def spoil(trial: Trial) -> None:
    """A secret of an account that Google does not know."""
    account = json.loads(trial.gateways.fcm_service_account) | {"client_email": "nobody@example.com"}
    trial.sandbox.client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=json.dumps(account))


def correct(scene: Scene) -> None:
    """The right secret, and a resume; before that, the run must have stopped with the reason."""
    lane = scene.trial.ledger.read_lane(scene.run_id)
    if lane is None or lane.status != "stopped" or "credentials_refused" not in (lane.reason or ""):
        scene.notes.append(f"stopped for credentials_refused, not {lane and (lane.status, lane.reason)}")
    account = scene.trial.gateways.fcm_service_account
    scene.trial.sandbox.client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=account)
    scene.resume()


SCENARIO = Scenario(
    name="token-renewal-refused",
    breaks="Google refuses the service account's key when an access token is asked for.",
    expects="The run stops and says so; with the right key and resumed it goes on.",
    prepare=spoil,
    finish=correct,
    variables={"FCM_CONNECTIONS": "9"},  # other settings make new processes, which have no access token yet
)
