"""firebase-admin: `messaging.send_each`, 500 messages a call."""
# mypy: ignore-errors

import firebase_admin
import requests
from firebase_admin import credentials, messaging
from measure import BODY, CHUNK, DATA, FCM_KEY, REQUESTS, TITLE, URL, Stopwatch, fcm_token

messaging._MessagingService.FCM_URL = f"{URL}/v1/projects/{{0}}/messages:send"
app = firebase_admin.initialize_app(credentials.Certificate(FCM_KEY))
# The SDK keeps 100 connections to fcm.googleapis.com: the same for the sink.
session = messaging._get_messaging_service(app)._client.session
session.mount(URL, requests.adapters.HTTPAdapter(pool_connections=100, pool_maxsize=100))
watch = Stopwatch()
for start in range(0, REQUESTS, CHUNK):
    some = range(start, min(start + CHUNK, REQUESTS))
    notification = messaging.Notification(title=TITLE, body=BODY)
    messages = [messaging.Message(token=fcm_token(number), notification=notification, data=DATA) for number in some]
    response = messaging.send_each(messages)
    if response.failure_count:
        raise SystemExit(str(response.responses[0].exception))
    watch.add(response.success_count)
watch.tell("firebase-admin")
