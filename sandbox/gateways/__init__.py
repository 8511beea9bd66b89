"""Stand-ins for FCM (with its OAuth endpoint) and APNs: HTTP/2 over TLS on 127.0.0.1, as strict as Google and Apple.

- `behaviour.py`: what they answer, by one function of the token; the prefix table is there.
- `fcm.py`, `fcm_message.py`, `oauth.py`; `apns.py`, `apns_token.py`: what each checks and how it words its answers.
- `counts.py`, `control.py`: what they count for themselves, and how to ask.
- `server.py`, `process.py`: the process, and the handle on it.

    with Gateways.start(folder) as gateways:
        ...  # send to gateways.addresses.fcm, .apns, .apns_sandbox, trusting .ca_file
        gateways.counts().apns.repeated_tokens

They restate the protocols' constants and import nothing from the notifier, so that they can disagree with it.
"""

from sandbox.gateways.counts import Figures, GatewayFigures
from sandbox.gateways.process import Gateways, StandInsDownError
from sandbox.gateways.server import Addresses

__all__ = ["Addresses", "Figures", "GatewayFigures", "Gateways", "StandInsDownError"]
