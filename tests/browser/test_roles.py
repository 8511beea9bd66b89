"""What authorizer, app, control and worker ask of AWS on a request's way is what their roles allow."""

from sandbox import scene
from sandbox.office import Office
from sandbox.scene import ANN, BOB
from tests.browser.approval_pages import People, approve, ask
from tests.deployment.least_privilege import Recorder, refused, roles_of


def test_the_roles_allow_it(people: People, office: Office, recorder: Recorder) -> None:
    """On the way of this request, and of what the tests before it have asked for; the pages really asked."""
    approve(people.sign_in(BOB), ask(people.sign_in(ANN), office, "Within the roles"))
    stack = office.trial.sandbox.stack
    worker = dict(stack.function("WorkerFunction").environment)
    secrets = {"FcmSecretArn": worker["FCM_SECRET_ARN"], "ApnsSecretArn": worker["APNS_SECRET_ARN"]}
    assert recorder.unknown == set()
    assert refused(recorder.calls, roles_of(stack, {**scene.parameters(), **secrets})) == []
    actions = {call.action for call in recorder.calls if call.who == stack.function("ApprovalFunction").name}
    assert {"ses:SendRawEmail", "s3:PutObject", "lambda:InvokeFunction", "dynamodb:PutItem"} <= actions
