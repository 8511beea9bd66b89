"""`setup`: is a stack ready to send? Each check says what it found, and a failing one what mends it."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table
from rich.text import Text

from notifier.cli.options import AsJson, Stack, StackFile, console, print_json
from notifier.cli.place import Cloud, find_place
from notifier.cli.trouble import ExitCode, tells_trouble
from notifier.config import Mode
from notifier.gateway.apns import auth as apns_auth
from notifier.gateway.apns import verdict as apns_verdict
from notifier.gateway.curl import CurlTransport
from notifier.gateway.fcm import auth as fcm_auth
from notifier.gateway.fcm import message as fcm_message
from notifier.gateway.fcm import verdict as fcm_verdict
from notifier.gateway.secrets import BadSecret, CredentialsRefused, CredentialsUnavailable, Secrets
from notifier.gateway.transport import Answer, Endpoint, Request
from notifier.outcome import Disposition

NOBODY = "0" * 64
"""A token that no phone has: a gateway that refuses it has taken our credentials."""
PATIENCE_S = 15.0


class Check(msgspec.Struct, frozen=True):
    """One check. `fine` None: there is nothing to check."""

    name: str
    fine: bool | None
    told: str
    mend: str = ""


@tells_trouble
def setup(stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False) -> None:
    """Check that a stack is ready: mode, notification, secrets, FCM, APNs, mail. Exit 0 only if all is fine.

    Nothing is sent to any phone.

    Example: notifier setup --stack notifier
    """
    found = tuple(checks(Cloud(find_place(stack, stack_file))))
    if as_json:
        print_json({"fine": all(check.fine is not False for check in found), "checks": found})
    else:
        console().print(shown(found))
    if any(check.fine is False for check in found):
        raise typer.Exit(ExitCode.NOT_FINE)


def shown(found: tuple[Check, ...]) -> Table:
    """For people."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in found:
        sign, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}[check.fine]
        told = Text(check.told)
        if check.mend and check.fine is not True:
            told.append(f"\n→ {check.mend}", style="dim")
        table.add_row(Text(f"{sign} {check.name}", style=style), told)
    return table


def checks(cloud: Cloud) -> Iterator[Check]:
    """Every check, in the order in which things are put in place."""
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=cloud.place.worker)
    variables: Mapping[str, str] = configuration["Environment"]["Variables"]
    yield mode_check(variables.get("MODE", ""))
    yield _guarded("notification", lambda: notification_check(cloud))
    yield from gateway_checks(cloud, variables)
    yield _guarded("mail", lambda: mail_check(cloud))


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """AWS may not allow one check: the others are done all the same."""
    try:
        return check()
    except (ClientError, BotoCoreError) as error:
        return Check(name, False, str(error), "check your own permissions (aws sts get-caller-identity)")


def mode_check(mode: str) -> Check:
    """Whether phones ring."""
    if mode == Mode.LIVE:
        return Check("mode", True, "live: phones ring")
    return Check("mode", True, "rehearse: everything runs, no phone rings (sam deploy --parameter-overrides Mode=live)")


def notification_check(cloud: Cloud) -> Check:
    """Whether somebody tells the worker of dropped files, and only one does."""
    bucket, name = cloud.place.bucket, "notification"
    found = cloud.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    worker = cloud.place.worker.rsplit(":", 1)[0]
    suffixes = sorted(
        rule["Value"]
        for one in found.get("LambdaFunctionConfigurations", ())
        if worker.rsplit(":", 1)[-1] in one["LambdaFunctionArn"]
        for rule in one.get("Filter", {}).get("Key", {}).get("FilterRules", ())
        if rule["Name"].lower() == "suffix"
    )
    mend = "deploy the stack again: sam deploy (somebody changed the bucket's notifications by hand)"
    if suffixes:
        return Check(name, True, f"S3 tells the worker of {' and '.join(suffixes)} under batches/")
    if "EventBridgeConfiguration" in found:
        return Check(name, True, "S3 tells EventBridge, whose rule tells the worker")
    return Check(name, False, f"nobody tells the worker of files in {bucket}", mend)


def gateway_checks(cloud: Cloud, variables: Mapping[str, str]) -> Iterator[Check]:
    """Secrets, and whether Google and Apple take what is in them."""
    secrets = Secrets(cloud.client("secretsmanager"))
    arns = {name: variables.get(f"{name.upper()}_SECRET_ARN", "") for name in ("fcm", "apns")}
    if not any(arns.values()):
        mend = "make a secret and give its ARN: sam deploy --parameter-overrides FcmSecretArn=… ApnsSecretArn=…"
        yield Check("secrets", False, "neither FCM nor APNs has one: nothing can be sent", mend)
        return
    if arns["fcm"]:
        yield from _fcm(secrets, arns["fcm"], variables)
    else:
        yield Check("FCM secret", None, "there is none: nothing is sent by FCM")
    if arns["apns"]:
        yield from _apns(secrets, arns["apns"], variables)
    else:
        yield Check("APNs secret", None, "there is none: nothing is sent by APNs")


def _fcm(secrets: Secrets, arn: str, variables: Mapping[str, str]) -> Iterator[Check]:
    mend = "put the service account's JSON there: aws secretsmanager put-secret-value --secret-id … --secret-string file://…"
    try:
        credentials = fcm_auth.Credentials(secrets.reader("fcm", arn), ca_file=variables.get("GATEWAY_CA_FILE", ""))
    except (BadSecret, ClientError, BotoCoreError) as error:
        yield Check("FCM secret", False, str(error), mend)
        return
    yield Check("FCM secret", True, f"project {credentials.project_id}")
    try:
        header = credentials.header(time.time())
    except (CredentialsRefused, CredentialsUnavailable) as error:
        yield Check(
            "FCM dry run", False, str(error), "make a new key for the service account, and put it in the secret"
        )
        return
    body = msgspec.json.encode(
        {"validate_only": True, "message": {"token": NOBODY, "notification": {"title": "setup"}}}
    )
    request = Request(
        endpoint="fcm",
        path=fcm_message.path(credentials.project_id),
        headers=(header, "content-type: application/json"),
        body=body,
        ticket=None,
    )
    yield _asked("FCM dry run", "Google", variables["FCM_BASE_URL"], request, fcm_verdict.judge, variables)


def _apns(secrets: Secrets, arn: str, variables: Mapping[str, str]) -> Iterator[Check]:
    mend = 'put JSON there: {"key": "-----BEGIN PRIVATE KEY-----…", "key_id": "…", "team_id": "…", "topic": "…"}'
    try:
        credentials = apns_auth.Credentials(secrets.reader("apns", arn))
    except (BadSecret, ClientError, BotoCoreError) as error:
        yield Check("APNs secret", False, str(error), mend)
        return
    yield Check("APNs secret", True, f"topic {credentials.topic}")
    headers = (credentials.header(time.time()), f"apns-topic: {credentials.topic}", "apns-push-type: alert")
    body = b'{"aps":{"alert":"setup"}}'
    request = Request(endpoint="apns", path=f"/3/device/{NOBODY}", headers=headers, body=body, ticket=None)
    yield _asked("APNs", "Apple", variables["APNS_BASE_URL"], request, apns_verdict.judge, variables)


def _asked(
    name: str, who: str, base_url: str, request: Request, judge: Callable[[Answer], Any], variables: Mapping[str, str]
) -> Check:
    """Ask about a token that nobody has: refused for the token, the credentials are good."""
    endpoint = Endpoint(
        name=request.endpoint, base_url=base_url, max_connections=1, max_streams=1, probe_first=False, timeout_ms=10_000
    )
    transport = CurlTransport((endpoint,), ca_file=variables.get("GATEWAY_CA_FILE", ""))
    try:
        answer = _one_answer(transport, request)
    finally:
        transport.close()
    if answer is None or answer.status == 0:
        detail = answer.detail if answer else "no answer"
        return Check(name, False, f"{base_url} cannot be reached: {detail}", "is the way out open: TCP 443, HTTP/2?")
    verdict = judge(answer)
    if verdict.disposition in (Disposition.RENEW, Disposition.STOP):
        mend = "put a valid key in the secret; is its API enabled, is it for this app?"
        return Check(name, False, f"{who} refuses our credentials: {answer.status} {verdict.reason}", mend)
    if verdict.disposition in (Disposition.RETRY, Disposition.RECONNECT):
        return Check(name, False, f"{who} is in trouble: {answer.status} {verdict.reason}", "try again in a minute")
    return Check(name, True, f"{who} takes our credentials")


def _one_answer(transport: CurlTransport, request: Request) -> Answer | None:
    until = time.monotonic() + PATIENCE_S
    while transport.room(request.endpoint) == 0 and time.monotonic() < until:
        transport.poll(0.05)
    transport.submit(request)
    while time.monotonic() < until:
        for answer in transport.poll(0.2):
            return answer
    return None


NO_SUCH_CALL = 404
"""What a local AWS answers to a call it does not know; AWS itself answers this one with 200, 400 or 403."""


def mail_check(cloud: Cloud) -> Check:
    """Whether the approval app may write to people who never heard of us."""
    if cloud.place.approval is None:
        return Check("mail", None, "no approval app is known of this stack")
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=cloud.place.approval)
    sender = configuration["Environment"]["Variables"].get("MAIL_FROM", "")
    client = cloud.client("sesv2")
    try:
        account = client.get_account()
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != NO_SUCH_CALL:
            raise
        return Check("mail", None, "this AWS does not tell (the sandbox has no SES account)")
    if not account["ProductionAccessEnabled"]:
        mend = "ask for production access in the SES console; until then every recipient must be verified too"
        return Check("mail", False, "SES is in its sandbox: only verified addresses get mail", mend)
    for identity in (sender, sender.rpartition("@")[2]):
        try:
            if client.get_email_identity(EmailIdentity=identity)["VerifiedForSendingStatus"]:
                return Check("mail", True, f"SES sends as {sender}")
        except client.exceptions.NotFoundException:
            continue
    mend = f"aws sesv2 create-email-identity --email-identity {sender}, and follow the link in the letter"
    return Check("mail", False, f"{sender} is not verified in SES", mend)
