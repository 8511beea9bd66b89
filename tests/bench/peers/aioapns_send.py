"""aioapns: `send_notification`, 500 tasks at a time."""
# mypy: ignore-errors

import asyncio
import ssl
from pathlib import Path

from aioapns import APNs, NotificationRequest
from aioapns.connection import APNsProductionClientProtocol
from measure import APNS_KEY, BODY, CHUNK, DATA, HOST, PORT, REQUESTS, TITLE, Stopwatch, apns_token

APNsProductionClientProtocol.APNS_SERVER = HOST
APNsProductionClientProtocol.APNS_PORT = PORT


KEY = Path(APNS_KEY).read_text()


async def send() -> None:
    """All of them."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])  # Apple does without, nginx does not
    apns = APNs(
        key=KEY,
        key_id="ABC123DEFG",
        team_id="TEAM123456",
        topic="com.example.app",
        use_sandbox=False,
        ssl_context=context,
    )
    message = {"aps": {"alert": {"title": TITLE, "body": BODY}}, **DATA}
    for start in range(0, REQUESTS, CHUNK):
        some = range(start, min(start + CHUNK, REQUESTS))
        requests = [NotificationRequest(device_token=apns_token(number), message=message) for number in some]
        results = await asyncio.gather(*(apns.send_notification(request) for request in requests))
        if not all(result.is_successful for result in results):
            raise SystemExit(str(results[0]))
        watch.add(len(results))


watch = Stopwatch()
asyncio.run(send())
watch.tell("aioapns")
