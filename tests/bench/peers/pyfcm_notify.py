"""pyfcm: `notify`, one device a call."""
# mypy: ignore-errors

from measure import BODY, DATA, FCM_KEY, REQUESTS, TITLE, URL, Stopwatch, fcm_token
from pyfcm import FCMNotification

FCMNotification.FCM_END_POINT_BASE = f"{URL}/v1/projects"
fcm = FCMNotification(service_account_file=FCM_KEY, project_id="bench")
watch = Stopwatch()
for number in range(REQUESTS):
    fcm.notify(fcm_token=fcm_token(number), notification_title=TITLE, notification_body=BODY, data_payload=DATA)
    watch.add(1)
watch.tell("pyfcm")
