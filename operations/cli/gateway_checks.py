"""Whether the secrets are complete, and whether Google and Apple accept the credentials in them. No phone rings."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from notifier.composition.settings import fault_of
from notifier.gateway.apns import auth as apns_auth
from notifier.gateway.apns import verdict as apns_verdict
from notifier.gateway.endpoint import Endpoint
from notifier.gateway.fcm import auth as fcm_auth
from notifier.gateway.fcm import message as fcm_message
from notifier.gateway.fcm import verdict as fcm_verdict
from notifier.gateway.http2.transport import Http2Transport
from notifier.gateway.secrets import BadSecret, CredentialsRefused, CredentialsUnavailable, Secrets
from notifier.model.exchange import Answer, Request
from notifier.model.outcome import Disposition
from operations.cli.check import Check, mend_of
from operations.cli.cloud import Cloud

UNUSED_TOKEN = "0" * 64
"""A token that no device has. A gateway that refuses it has accepted our credentials before it looked at the token."""
PATIENCE_S = 15.0
WAY_OUT = "is outgoing TCP 443 allowed, with HTTP/2?"
MEND_OF_THE_WAY = "correct the parameter GatewayCaFile or GatewayProxy; a CA file must be on this machine too"
MISSING = "does this secret exist, in this region? aws secretsmanager create-secret makes one; deploy with its ARN"


def gateway_checks(cloud: Cloud, variables: Mapping[str, str]) -> Iterator[Check]:
    """The secrets, then a request to each gateway that has one."""
    secrets = Secrets(cloud.client("secretsmanager"))
    arns = {name: variables.get(f"{name.upper()}_SECRET_ARN", "") for name in ("fcm", "apns")}
    if not any(arns.values()):
        mend = "create a secret and give its ARN: sam deploy --parameter-overrides FcmSecretArn=… ApnsSecretArn=…"
        yield Check("secrets", False, "neither FCM nor APNs has one: nothing can be sent", mend)
        return
    # The worker reads the same settings with the same code: what it would refuse is refused here.
    faults = [fault_of(f"gateway_{name}", text) for name, text in _way(variables).items() if text]
    if any(faults):
        yield Check("way to the gateways", False, "; ".join(filter(None, faults)), MEND_OF_THE_WAY)
        return
    if arns["fcm"]:
        yield from _fcm(secrets, arns["fcm"], variables)
    else:
        yield Check("FCM secret", None, "there is none: nothing is sent by FCM")
    if arns["apns"]:
        yield from _apns(secrets, arns["apns"], variables)
    else:
        yield Check("APNs secret", None, "there is none: nothing is sent by APNs")


def _way(variables: Mapping[str, str]) -> dict[str, str]:
    """What is between us and the gateways, as arguments."""
    return {"ca_file": variables.get("GATEWAY_CA_FILE", ""), "proxy": variables.get("GATEWAY_PROXY", "")}


def _fcm(secrets: Secrets, arn: str, variables: Mapping[str, str]) -> Iterator[Check]:
    mend = "put the service account's JSON there: aws secretsmanager put-secret-value --secret-id … --secret-string file://…"
    try:
        credentials = fcm_auth.Credentials(secrets.read("fcm", arn), **_way(variables))
    except BadSecret as error:
        yield Check("FCM secret", False, str(error), mend)
        return
    except (ClientError, BotoCoreError) as error:
        yield Check("FCM secret", False, str(error), mend_of(error, MISSING))
        return
    yield Check("FCM secret", True, f"project {credentials.project_id}")
    try:
        header = credentials.grant(time.time()).header
    except CredentialsUnavailable as error:
        yield Check("FCM dry run", False, str(error), WAY_OUT)
        return
    except CredentialsRefused as error:
        yield Check("FCM dry run", False, error.problem, error.mend)
        return
    # validate_only: Google checks credentials, project and token, and sends nothing.
    body = msgspec.json.encode(
        {"validate_only": True, "message": {"token": UNUSED_TOKEN, "notification": {"title": "setup"}}}
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
        credentials = apns_auth.Credentials(secrets.read("apns", arn))
    except BadSecret as error:
        yield Check("APNs secret", False, str(error), mend)
        return
    except (ClientError, BotoCoreError) as error:
        yield Check("APNs secret", False, str(error), mend_of(error, MISSING))
        return
    yield Check("APNs secret", True, f"topic {credentials.topic}")
    headers = (credentials.grant(time.time()).header, f"apns-topic: {credentials.topic}", "apns-push-type: alert")
    # Apple has no dry run; it checks credentials and topic before the token, which no device has.
    body = b'{"aps":{"alert":"setup"}}'
    request = Request(endpoint="apns", path=f"/3/device/{UNUSED_TOKEN}", headers=headers, body=body, ticket=None)
    yield _asked("APNs", "Apple", variables["APNS_BASE_URL"], request, apns_verdict.judge, variables)


def _asked(
    name: str, who: str, base_url: str, request: Request, judge: Callable[[Answer], Any], variables: Mapping[str, str]
) -> Check:
    """Send one push to a token that no device has, and judge the answer as the worker does."""
    endpoint = Endpoint(
        name=request.endpoint, base_url=base_url, max_connections=1, max_streams=1, probe_first=False, timeout_ms=10_000
    )
    transport = Http2Transport(
        (endpoint,), variables.get("GATEWAY_CA_FILE", ""), proxy=variables.get("GATEWAY_PROXY", "")
    )
    try:
        answer = _one_answer(transport, request)
    finally:
        transport.close()
    # Status 0: the connection failed before any answer.
    if answer is None or answer.status == 0:
        detail = answer.detail if answer else "no answer"
        return Check(name, False, f"{base_url} cannot be reached: {detail}", WAY_OUT)
    verdict = judge(answer)
    # What the worker would stop for, or renew its credentials for, is about the credentials, not about the token.
    if verdict.disposition in (Disposition.RENEW, Disposition.STOP):
        mend = "put a valid key in the secret; is its API enabled, and is it this app's?"
        return Check(name, False, f"{who} refuses our credentials: {answer.status} {verdict.reason}", mend)
    if verdict.disposition in (Disposition.RETRY, Disposition.RECONNECT):
        return Check(name, False, f"{who} is in trouble: {answer.status} {verdict.reason}", "try again in a minute")
    return Check(name, True, f"{who} accepts our credentials")


def _one_answer(transport: Http2Transport, request: Request) -> Answer | None:
    until = time.monotonic() + PATIENCE_S
    # There is room once the connection is made, with TLS and the peer's settings.
    while transport.room(request.endpoint) == 0 and time.monotonic() < until:
        transport.poll(0.05)
    transport.submit(request)
    while time.monotonic() < until:
        for answer in transport.poll(0.2):
            return answer
    return None
