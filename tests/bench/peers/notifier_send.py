"""The notifier's own sending, and nothing else: payload, request, HTTP/2, verdict. `python notifier_send.py fcm|apns`.

Carrier, connections and limits are those of the worker; at most 1,000 are in flight, as for pushy. Credentials are a
line of the usual length: it is the same for an hour.
"""
# mypy: ignore-errors

import sys
from contextlib import closing
from typing import Any, cast

from measure import BODY, CA, DATA, REQUESTS, TITLE, URL, Stopwatch, apns_token, fcm_token

from notifier.composition.gateways import APNS_STREAMS, FCM_STREAMS
from notifier.content.render import RenderedTexts, Renderer
from notifier.gateway.apns import carrier as apns_carrier
from notifier.gateway.carrier import GatewayCarrier, RunContent
from notifier.gateway.endpoint import Endpoint
from notifier.gateway.fcm import carrier as fcm_carrier
from notifier.gateway.http2.transport import Http2Transport
from notifier.model.campaign_reading import read_campaign
from notifier.model.cursor import Cursor
from notifier.model.outcome import Disposition
from notifier.model.recipient import Device, Platform
from notifier.sending.batch import Batch, Push

IN_FLIGHT = 1_000
CAMPAIGN = {
    "id": "bench",
    "message": {
        "title": TITLE,
        "body": BODY,
        "deep_link": DATA["deep_link"],
        "data": {"screen": DATA["screen"]},
        "ttl_s": 86_400,
    },
}
ENDPOINTS = {
    "fcm": Endpoint(
        name="fcm", base_url=URL, max_connections=10, max_streams=FCM_STREAMS, probe_first=False, path_is_shared=True
    ),
    "apns": Endpoint(name="apns", base_url=URL, max_connections=4, max_streams=APNS_STREAMS, probe_first=True),
}


_AUTHORIZATION = "authorization: Bearer " + "a" * 200


class Credentials:
    """What `RefreshableCredentials` gives, once and for all."""

    generation = 0
    project_id, topic = "bench", "com.example.app"

    @property
    def current(self) -> "Credentials":
        """The credentials themselves."""
        return self

    def header(self, now_s: float) -> str:
        """A line as long as Google's."""
        return _AUTHORIZATION


class Pushes:
    """Makes the pushes of one arm, as a batch does."""

    def __init__(self, endpoint: str) -> None:
        self._batch = Batch("r" * 20, "bench", 0, 0, Cursor())
        self._endpoint = endpoint
        self._platform = Platform.ANDROID if endpoint == "fcm" else Platform.IOS
        self._token = fcm_token if endpoint == "fcm" else apns_token
        self._texts = RenderedTexts(("default", ""))

    def make(self, number: int) -> Push:
        """One of them."""
        device = Device(self._platform, self._token(number))
        return Push(self._batch, number, 0, str(number), "default", device, self._endpoint, None, self._texts)


def send(carrier: GatewayCarrier, transport: Http2Transport, endpoint: str, watch: Stopwatch) -> None:
    """All of them."""
    pushes, number = Pushes(endpoint), 0
    while watch.done < REQUESTS:
        for _ in range(min(transport.room(endpoint), IN_FLIGHT - transport.in_flight, REQUESTS - number)):
            transport.submit(carrier.ask(pushes.make(number), 1_800_000_000.0))
            number += 1
        answers = transport.poll(0.02)
        for answer in answers:
            if carrier.judge(answer).disposition is not Disposition.ACCEPT:
                raise SystemExit(str(answer))
        watch.add(len(answers))


def main() -> None:
    """Send to one gateway, and print the figures."""
    endpoint = sys.argv[1]
    content = RunContent("r" * 20, "bench", Renderer(read_campaign(CAMPAIGN)).wording)
    make = fcm_carrier.carrier if endpoint == "fcm" else apns_carrier.carrier
    carrier = make(endpoint, cast("Any", Credentials()), content)
    watch = Stopwatch()
    with closing(Http2Transport([ENDPOINTS[endpoint]], CA)) as transport:
        send(carrier, transport, endpoint, watch)
    watch.tell(None)


if __name__ == "__main__":
    main()
