"""The time to live with quiet hours, as the requests have it that a worker makes.

The worker, its retries and the requests are the product's. Phones, credentials and time are twins, and the end of each
time to live is computed here, minute by minute by the clock on the user's wall.
"""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from notifier.composition.gateways import GatewayKeys, carriers
from notifier.gateway.carrier import GatewayCarrier
from notifier.lifecycle.admitted import AdmittedCampaign
from notifier.model.exchange import Request
from notifier.model.outcome import Outcome
from notifier.model.quiet_hours import Quiet
from notifier.sending.batch import Push
from tests.twins.gateway import Act, Phones, TwinCarrier
from tests.twins.hop_factory import World
from tests.twins.invocation import hops_of, invocation

FALLBACK = "Asia/Kathmandu"
"""Of users without a time zone."""
DAY_S = 86_400


class SignedIn:
    """Credentials that are there."""

    current = SimpleNamespace(topic="com.example.app", project_id="p")
    generation = 0

    def header(self, _now_s: float) -> str:
        """A header."""
        return "authorization: bearer x"


class Recording(TwinCarrier):
    """Asks a twin's phone, and keeps when, and what the product's own carrier asks the gateway for then."""

    real: GatewayCarrier
    requests: list[tuple[float, Request]]

    def ask(self, push: Push, now_s: float) -> Request:
        """The request for a push."""
        found = self.real.ask(push, now_s)
        assert isinstance(found, Request)
        self.requests.append((now_s, found))
        return super().ask(push, now_s)


class Sent:
    """One user's push, by both gateways, from the first request to the rows.

    Args:
        at: by the user's clock.
        refused: requests of each gateway that are to come again in a minute.
    """

    def __init__(
        self, at: str, quiet: Quiet | None, *, zone: str | None = "Europe/London", refused: int = 0,
        ttl_s: int | None = None, fcm: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.zone = ZoneInfo(zone or FALLBACK)
        phones = Phones(lambda _, asked: Act.MINUTE if asked < refused else Act.ACCEPT)
        devices = [{"platform": "android", "token": "f"}, {"platform": "ios", "token": "a"}]
        user = {"user_id": "u", "devices": devices} | ({"timezone": zone} if zone else {})
        message = {"title": "t"} | ({} if ttl_s is None else {"ttl_s": ttl_s}) | ({"fcm": fcm} if fcm else {})
        self.world = World([user], phones=phones, message=message)
        self.world.clock.time_s = datetime.fromisoformat(at).replace(tzinfo=self.zone).timestamp()
        self.world.quiet = quiet
        self.world.ttl_s = ttl_s
        self.requests: list[tuple[float, Request]] = []
        self._go_on()

    def _go_on(self) -> None:
        world = self.world
        while world.lane.ending is None:
            world.clock.time_s = max(world.clock.time_s, (world.lane.due_at_ms or 0) / 1000)
            hops = hops_of(world)
            keys: Any = SignedIn()
            admitted = AdmittedCampaign(world.campaign, (), True, (), False, quiet=world.quiet)
            real = carriers(GatewayKeys(keys, keys), "r", admitted)
            for name in hops.carriers:
                hops.carriers[name] = one = Recording(name, world.phones, hops.background, 0, world.ttl_s)
                one.real, one.requests = real[name], self.requests  # type: ignore[assignment]
            hops.lane_worker().work(world.run, 0, invocation(world))

    def expiries(self, endpoint: str) -> list[tuple[str, str | None]]:
        """Of each request, by the user's clock to the minute: when it began, and when the gateway gives up."""
        return [
            (self._local(now_s), None if (ends_s := end_s(request, now_s)) is None else self._local(ends_s))
            for now_s, request in self.requests
            if request.endpoint == endpoint
        ]

    def _local(self, at_s: float) -> str:
        # A time to live is in whole seconds: of what begins a little after the second it ends a little before one.
        return f"{datetime.fromtimestamp(at_s + 1, self.zone):%d %H:%M}"


def end_s(request: Request, now_s: float) -> float | None:
    """When a gateway gives up, as a request says: alike for each way to the phone that is in it."""
    if request.endpoint == "apns":
        found = [line.partition(": ")[2] for line in request.headers if line.startswith("apns-expiration: ")]
        return float(found[0]) if found else None
    message = json.loads(request.body)["message"]
    android, web = message["android"].get("ttl"), message["webpush"]["headers"].get("TTL")
    apple = message["apns"]["headers"].get("apns-expiration")
    if android is None:
        assert (web, apple) == (None, None)
        return None
    ttl_s = int(android.removesuffix("s"))
    assert (int(web), int(apple)) == (ttl_s, int(now_s) + ttl_s)
    return now_s + ttl_s


def next_begin(quiet: Quiet, at: datetime) -> str:
    """When quiet hours begin next, looking at the clock on the wall each minute."""
    instant = at.astimezone(UTC).replace(second=0, microsecond=0)
    while True:
        instant += timedelta(minutes=1)
        local = f"{instant.astimezone(at.tzinfo):%H:%M}"
        crosses = quiet.begins > quiet.ends
        if (not quiet.ends <= local < quiet.begins) if crosses else (quiet.begins <= local < quiet.ends):
            return f"{instant.astimezone(at.tzinfo):%d %H:%M}"


def with_zone(quiet: Quiet) -> Quiet:
    """As a run has it in force: with the zone of users without one."""
    return msgspec.structs.replace(quiet, timezone=FALLBACK)


NIGHT, LATE, EARLY = Quiet("21:00", "08:00"), Quiet("00:30", "08:00"), Quiet("01:30", "08:00")


@pytest.mark.parametrize("refused", [0, 2])
@pytest.mark.parametrize(
    ("at", "quiet", "zone", "ends"),
    [
        ("2027-12-01T20:10", NIGHT, "Europe/London", "01 21:00"),
        ("2027-12-01T08:00", NIGHT, "Europe/London", "01 21:00"),
        ("2027-12-01T22:10", LATE, "America/New_York", "02 00:30"),  # over midnight
        ("2027-12-31T23:00", LATE, "Australia/Lord_Howe", "01 00:30"),  # and over the year's end
        ("2027-03-27T22:10", EARLY, "Europe/London", "28 02:00"),  # 01:30 does not exist: two hours and 50 minutes
        ("2027-10-30T22:10", Quiet("03:00", "08:00"), "Europe/London", "31 03:00"),  # five hours and 50 minutes
        ("2027-12-01T20:10", NIGHT, None, "01 21:00"),  # by the campaign's zone
    ],
)
def test_cut_at_the_next_quiet_hours(at: str, quiet: Quiet, zone: str | None, ends: str, refused: int) -> None:
    """Of the first request and of each repeat: kept until the user's next `from`, whatever is between."""
    sent = Sent(at, with_zone(quiet), zone=zone, refused=refused, ttl_s=DAY_S)
    assert next_begin(quiet, datetime.fromisoformat(at).replace(tzinfo=sent.zone)) == ends
    for endpoint in ("fcm", "apns"):
        found = sent.expiries(endpoint)
        assert len({begun for begun, _ in found}) == 1 + refused
        assert {end for _, end in found} == {ends}


def test_a_repeat_after_quiet_hours() -> None:
    """Refused just before they begin it is asked at their end, and is kept until the next ones."""
    sent = Sent("2027-03-27T20:59", with_zone(NIGHT), refused=1)
    for endpoint in ("fcm", "apns"):
        assert sent.expiries(endpoint) == [("27 20:59", "27 21:00"), ("28 08:00", "28 21:00")]
    rows = [row for found in sent.world.results.rows.values() for row in found.rows]
    assert {row.outcome for row in rows} == {Outcome.ACCEPTED}


@pytest.mark.parametrize(
    ("ttl_s", "quiet", "end"),
    [
        (600, NIGHT, "01 20:20"),  # its own is shorter
        (DAY_S, msgspec.structs.replace(NIGHT, ttl="keep"), "02 20:10"),
        (DAY_S, None, "02 20:10"),
        (None, NIGHT, "01 21:00"),  # without one a gateway keeps it for weeks
        (None, None, None),
    ],
)
def test_when_it_is_not_cut(ttl_s: int | None, quiet: Quiet | None, end: str | None) -> None:
    """A shorter one stays, `keep` leaves it as it is, and without quiet hours nothing is changed."""
    sent = Sent("2027-12-01T20:10", with_zone(quiet) if quiet else None, ttl_s=ttl_s)
    for endpoint in ("fcm", "apns"):
        assert sent.expiries(endpoint) == [("01 20:10", end)]


def test_one_of_the_campaigns_own_additions_is_cut() -> None:
    """A time to live under `fcm.android` would keep it through the night."""
    sent = Sent("2027-12-01T20:10", with_zone(NIGHT), fcm={"android": {"ttl": "2419200s"}})
    assert sent.expiries("fcm") == [("01 20:10", "01 21:00")]
