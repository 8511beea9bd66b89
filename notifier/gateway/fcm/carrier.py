"""FCM's carrier: its message, path and verdicts together with the service account's keys."""

from notifier.content.render import Wording
from notifier.gateway.carrier import Gateway, GatewayCarrier, RunContent
from notifier.gateway.credentials import RefreshableCredentials
from notifier.gateway.fcm.auth import Credentials
from notifier.gateway.fcm.message import MAX_PAYLOAD_BYTES, Prepared, path
from notifier.gateway.fcm.verdict import judge
from notifier.gateway.payload import Label


def carrier(endpoint: str, keys: RefreshableCredentials[Credentials], content: RunContent) -> GatewayCarrier:
    """The carrier of one run. Works without a secret: `access` then says what is missing."""

    def prepare(wording: Wording, label: Label) -> Prepared:
        limits_ttl = content.ttl_limit is not None
        return Prepared(wording.message, wording.slots, label, rehearse=content.is_rehearsal, limits_ttl=limits_ttl)

    gateway = Gateway(
        prepare=prepare,
        path=lambda _token: path(keys.current.project_id),  # FCM takes the token in the body
        judge=judge,
        max_payload_bytes=MAX_PAYLOAD_BYTES,
        takes_push_ids=False,
        can_validate=True,  # FCM's `validate_only`
    )
    return GatewayCarrier(endpoint, gateway, keys, content)
