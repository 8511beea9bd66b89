"""APNs' carrier: its message, path and verdicts together with the team's keys."""

from notifier.content.render import Wording
from notifier.gateway.apns.auth import Credentials
from notifier.gateway.apns.message import MAX_PAYLOAD_BYTES, Prepared, path
from notifier.gateway.apns.verdict import judge
from notifier.gateway.carrier import Gateway, GatewayCarrier, RunContent
from notifier.gateway.credentials import RefreshableCredentials
from notifier.gateway.payload import Label


def carrier(endpoint: str, keys: RefreshableCredentials[Credentials], content: RunContent) -> GatewayCarrier:
    """The carrier of one run. Works without a secret: `access` then says what is missing."""

    def prepare(wording: Wording, label: Label) -> Prepared:
        return Prepared(wording.message, wording.slots, label, topic=keys.current.topic)

    gateway = Gateway(
        prepare=prepare,
        path=path,
        judge=judge,
        max_payload_bytes=MAX_PAYLOAD_BYTES,
        takes_push_ids=True,
        can_validate=False,  # APNs has no dry run
    )
    return GatewayCarrier(endpoint, gateway, keys, content)
