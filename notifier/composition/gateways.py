"""The gateways of one process: their hosts, their credentials, and what a hop asks them with."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from notifier.composition.hop_maker import Gateways, Ports
from notifier.composition.settings import Settings
from notifier.content.render import Renderer
from notifier.gateway.apns import auth as apns_auth
from notifier.gateway.apns import carrier as apns_carrier
from notifier.gateway.carrier import RunContent, TtlLimit
from notifier.gateway.credentials import RefreshableCredentials
from notifier.gateway.endpoint import Endpoint
from notifier.gateway.fcm import auth as fcm_auth
from notifier.gateway.fcm import carrier as fcm_carrier
from notifier.gateway.http2.transport import Http2Transport
from notifier.gateway.secrets import Secrets
from notifier.lifecycle.admitted import AdmittedCampaign
from notifier.model.lane_membership import MEMBER_MS, Member, Membership, member_name
from notifier.model.run import Lane
from notifier.model.runtime import Clock
from notifier.sending.carrier import Carrier
from notifier.sending.lane_shares import LaneBudget, LaneRateLimit, LaneShares
from notifier.sending.rate_limit import RateLimit, SharedBudget
from notifier.sending.send_times import ttl_left_s

FCM_STREAMS = 100
"""Requests at once on one connection to FCM: more are refused."""
APNS_STREAMS = 1_000
"""The same for APNs."""
RUN_APNS_CONNECTIONS = 64
"""Connections to one of Apple's hosts by all lanes of a run; of more lanes than this each has one. Apple allows many
from one provider, and takes fast opening and closing for an attack."""


@dataclass(frozen=True)
class GatewayKeys:
    """The credentials of both gateways, kept between invocations."""

    fcm: RefreshableCredentials[fcm_auth.Credentials]
    apns: RefreshableCredentials[apns_auth.Credentials]

    def begin(self, settings: Settings, now_s: float) -> None:
        """Begin to fetch what a hop needs, so that it is there, or nearly, when the run is open.

        A process outlives a run that stopped for its credentials: resumed, the run must meet the corrected secret.
        """
        for keys, arn in ((self.fcm, settings.fcm_secret_arn), (self.apns, settings.apns_secret_arn)):
            keys.look_again()
            if arn:
                keys.access(now_s)


def gateway_keys(settings: Settings, client: Any, clock: Clock) -> GatewayKeys:
    """The credentials, read from their secrets when they are first needed.

    Args:
        client: a boto3 Secrets Manager client.
    """
    secrets = Secrets(client)
    # Threads of their own, one for each gateway: an endpoint that hangs must not keep a settlement waiting.
    threads = ThreadPoolExecutor(2, thread_name_prefix="credentials")
    fcm_credentials = partial(fcm_auth.Credentials, ca_file=settings.gateway_ca_file, proxy=settings.gateway_proxy)
    return GatewayKeys(
        RefreshableCredentials(secrets.reader("fcm", settings.fcm_secret_arn), fcm_credentials, threads, clock.now),
        RefreshableCredentials(
            secrets.reader("apns", settings.apns_secret_arn), apns_auth.Credentials, threads, clock.now
        ),
    )


def open_gateways(
    settings: Settings,
    keys: GatewayKeys,
    ports: Ports,
    lane: Lane,
    admitted: AdmittedCampaign,
    shares: LaneShares | None = None,
) -> Gateways:
    """The gateways for one hop. Close the transport afterwards."""
    hosts = endpoints(settings, lane.span.lanes if lane.span else 1)
    return Gateways(
        Http2Transport(hosts, settings.gateway_ca_file, proxy=settings.gateway_proxy),
        carriers(keys, lane.run_id, admitted),
        {"fcm": _fcm_budget(settings, ports, lane, admitted, shares)},
        shares,
    )


def lane_shares(ports: Ports, lane: Lane) -> LaneShares | None:
    """What a lane of several knows of the others; None for a run's only lane."""
    if lane.span is None:
        return None
    ledger, clock, name = ports.ledger, ports.clock, member_name(lane.run_id, lane.lane)
    began_s = clock.monotonic()

    def join(member: Member, *, is_first: bool) -> Membership:
        now_ms = int(clock.now() * 1000)
        # The first time as it was before: a lane that is in it already is known to all others.
        before = ledger.membership(now_ms) if is_first else None
        found = ledger.join({name: member}, now_ms)
        return before or found

    return LaneShares(
        name,
        lambda member, is_first: ports.background.submit(join, member, is_first=is_first),
        lambda: int(clock.now() * 1000),
        lambda: lane.sending_ms + int((clock.monotonic() - began_s) * 1000),
        MEMBER_MS,
    )


def first_request_limit(
    settings: Settings, ports: Ports, lane: Lane, admitted: AdmittedCampaign, shares: LaneShares | None = None
) -> RateLimit:
    """The campaign's `per_second`, reached over a ramp that goes on from hop to hop."""
    per_second, ramp_s = admitted.campaign.per_second or None, _ramp_s(settings, admitted)
    sent_for_s, now_s = lane.sending_ms / 1000, ports.clock.monotonic()
    if shares is not None:
        return LaneRateLimit(per_second, ramp_s, sent_for_s, now_s, shares)
    return RateLimit(per_second, ramp_s, sent_for_s, now_s)


def _fcm_budget(
    settings: Settings, ports: Ports, lane: Lane, admitted: AdmittedCampaign, shares: LaneShares | None
) -> SharedBudget:
    """FCM counts requests per project: the runs that are alive share the stack's budget."""
    clock, per_second = ports.clock, float(settings.fcm_per_second)

    def count_alive() -> Future[int]:
        return ports.background.submit(ports.ledger.alive, int(clock.now() * 1000))

    ramped = RateLimit(per_second, _ramp_s(settings, admitted), lane.sending_ms / 1000, clock.monotonic())
    if shares is not None:
        return LaneBudget(ramped, per_second, shares)
    return SharedBudget(ramped, per_second, count_alive)


def _ramp_s(settings: Settings, admitted: AdmittedCampaign) -> float:
    """Test pushes are few, and a person waits for them: no ramp."""
    return 0.0 if admitted.campaign.test else float(settings.ramp_s)


def carriers(keys: GatewayKeys, run_id: str, admitted: AdmittedCampaign) -> Mapping[str, Carrier]:
    """A carrier for each endpoint. One without a secret reports that when it is first needed."""
    wording = Renderer(admitted.campaign).wording
    content = RunContent(run_id, admitted.campaign.id, wording, admitted.rehearse, _ttl_limit(admitted))
    return {
        "fcm": fcm_carrier.carrier("fcm", keys.fcm, content),
        "apns": apns_carrier.carrier("apns", keys.apns, content),
        "apns-sandbox": apns_carrier.carrier("apns-sandbox", keys.apns, content),
    }


def _ttl_limit(admitted: AdmittedCampaign) -> TtlLimit | None:
    """With quiet hours a push is kept until they begin: no phone that was off rings in them."""
    quiet = admitted.quiet_hours
    if quiet is None or not quiet.cuts_ttl:
        return None
    return lambda push, now_s: ttl_left_s(quiet, push.timezone, now_s)


def endpoints(settings: Settings, lanes: int = 1) -> tuple[Endpoint, ...]:
    """The three hosts, as data.

    Args:
        lanes: so many lanes of the run open connections.
    """
    connections = max(1, min(settings.apns_connections, RUN_APNS_CONNECTIONS // lanes))
    apns = {"probe_first": True, "max_connections": connections, "max_streams": APNS_STREAMS}
    return (
        Endpoint(
            name="fcm",
            base_url=settings.fcm_base_url,
            max_connections=settings.fcm_connections,
            max_streams=FCM_STREAMS,
            probe_first=False,
            timeout_ms=settings.request_timeout_ms,
            path_is_shared=True,
        ),
        Endpoint(name="apns", base_url=settings.apns_base_url, timeout_ms=settings.request_timeout_ms, **apns),  # type: ignore[arg-type]
        Endpoint(
            name="apns-sandbox",
            base_url=settings.apns_sandbox_base_url,
            timeout_ms=settings.request_timeout_ms,
            **apns,  # type: ignore[arg-type]
        ),
    )
