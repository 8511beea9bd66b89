"""pyfcm: `async_notify_multiple_devices`, 500 devices a call."""
# mypy: ignore-errors

from measure import BODY, CHUNK, DATA, FCM_KEY, REQUESTS, TITLE, URL, Stopwatch, fcm_token
from pyfcm import FCMNotification

FCMNotification.FCM_END_POINT_BASE = f"{URL}/v1/projects"
fcm = FCMNotification(service_account_file=FCM_KEY, project_id="bench")
watch = Stopwatch()
for start in range(0, REQUESTS, CHUNK):
    some = range(start, min(start + CHUNK, REQUESTS))
    message = {"notification_title": TITLE, "notification_body": BODY, "data_payload": DATA}
    answers = fcm.async_notify_multiple_devices(
        [message | {"fcm_token": fcm_token(number)} for number in some], timeout=60
    )
    if not all("name" in answer for answer in answers):
        raise SystemExit(str(answers[0]))
    watch.add(len(answers))
watch.tell("pyfcm")
