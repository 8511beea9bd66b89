"""The payloads of a campaign on both gateways, built by the code that the worker builds them with."""

from typing import Any

import msgspec

from notifier.content.render import RenderedTexts, Renderer
from notifier.gateway.apns import message as apns
from notifier.gateway.fcm import message as fcm
from notifier.gateway.payload import Label
from notifier.model.campaign import Campaign
from notifier.model.recipient import Gateway

TOPIC = "com.example.app"
"""In place of the app's bundle id, which no file names. It is a header of the request: no size depends on it."""
RUN_ID = "0" * 20
"""In place of the run's id, which every payload carries: as long as a real one, so that sizes are exact."""


class Payloads:
    """The payloads of one campaign."""

    def __init__(self, campaign: Campaign, renderer: Renderer) -> None:
        self._campaign_id = campaign.id
        self._renderer = renderer
        self._prepared: dict[tuple[str, str], tuple[fcm.Prepared, apns.Prepared]] = {}
        self._static: dict[tuple[tuple[str, str], Gateway], int] = {}

    def bytes_of(self, words: RenderedTexts, gateway: Gateway) -> int:
        """The size that counts against the gateway's limit."""
        if words.texts:
            return self._prepared_for(words, gateway).payload_bytes(words.texts)
        # Without placeholders all users of an arm and language have the same payload: it is measured once.
        key = (words.key, gateway)
        if key not in self._static:
            self._static[key] = self._prepared_for(words, gateway).payload_bytes(())
        return self._static[key]

    def decoded(self, words: RenderedTexts, gateway: Gateway, token: str, now_s: float) -> dict[str, Any]:
        """A payload as JSON values, to be shown."""
        decoded: dict[str, Any] = msgspec.json.decode(
            self._prepared_for(words, gateway).body(token, words.texts, now_s)
        )
        return decoded

    def _prepared_for(self, words: RenderedTexts, gateway: Gateway) -> fcm.Prepared | apns.Prepared:
        if words.key not in self._prepared:
            wording = self._renderer.wording(words.key)
            label = Label(RUN_ID, self._campaign_id, wording.arm)
            self._prepared[words.key] = (
                fcm.Prepared(wording.message, wording.slots, label),
                apns.Prepared(wording.message, wording.slots, label, topic=TOPIC),
            )
        for_fcm, for_apns = self._prepared[words.key]
        return for_apns if gateway is Gateway.APNS else for_fcm
