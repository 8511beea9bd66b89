# ruff: noqa: ARG001  (the shape of Behave)
"""What the stand-ins answer in scenarios. Each function is a `Behave`; the token alone decides whether it strikes."""

import time
import zlib

from sandbox.gateways.behaviour import Answer, Behaviour, Gateway, Reply

_FINE = Behaviour()
_SLOW = Behaviour(delay_ms=100)
_STORM_REQUESTS = 400
_away_until: dict[Gateway, float] = {}


def _lot(token: str, of: int) -> int:
    """A number from 0 to `of` - 1 that is always the same for a token."""
    return zlib.crc32(token.encode()) % of


def slow(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """Every answer takes 100 ms."""
    return _SLOW


def half_slow(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """Half of all answers take 0.7 s."""
    return Behaviour(delay_ms=700) if _lot(token, 2) else _FINE


def bad_night(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """APNs takes a second and a half; FCM refuses two devices in five for now, each once, and one in 50 always."""
    if gateway is not Gateway.FCM:
        return Behaviour(delay_ms=1_500)
    if _lot(token, 50) == 0:
        return Behaviour(Answer.UNAVAILABLE)
    return Behaviour(Answer.UNAVAILABLE) if attempt == 1 and _lot(token, 5) in (1, 2) else _FINE


def one_in_a_hundred_unavailable(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """Every hundredth request gets a 503."""
    return Behaviour(Answer.UNAVAILABLE) if nth % 100 == 0 else _FINE


def storm(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """FCM has enough after a while: 400 requests get 429 with `Retry-After: 1`. APNs counts by device."""
    if gateway is Gateway.FCM and 100 < nth <= 100 + _STORM_REQUESTS:
        return Behaviour(Answer.QUOTA, retry_after="1")
    return _FINE


def html(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """A tenth of the devices is first answered by a 502 page of HTML."""
    return Behaviour(Answer.HTML) if attempt == 1 and _lot(token, 10) == 0 else _FINE


def no_body(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """A tenth of the devices is first answered by a 500 without a body."""
    return Behaviour(Answer.EMPTY) if attempt == 1 and _lot(token, 10) == 0 else _FINE


def rubbish(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """A tenth of the devices is first answered by a 503 whose body is JSON of the wrong shape."""
    bodies = (b"[]", b"7", b'{"error": 7, "reason": []}', b"\xff\xfe\x00", b'{"error": {"details": [1, null]}}')
    if attempt == 1 and _lot(token, 10) == 0:
        return Behaviour(raw=Reply(503, "rubbish", bodies[_lot(token, 50) // 10]))
    return _FINE


def silent(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """A fiftieth of the devices is not answered at the first attempt."""
    return Behaviour(Answer.NEVER) if attempt == 1 and _lot(token, 50) == 0 else _FINE


def an_hour_for_one(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """FCM's first request is refused for an hour, and a tenth of the devices at first for 3 s."""
    if gateway is Gateway.FCM and nth == 1:
        return Behaviour(Answer.QUOTA, retry_after="3600")
    return Behaviour(Answer.UNAVAILABLE, retry_after="3") if attempt == 1 and _lot(token, 10) == 0 else _FINE


def away_for_two_minutes(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """From its 20th request on each gateway answers everything with 503, for two minutes."""
    if nth == 20:
        _away_until[gateway] = time.monotonic() + 120.0
    return Behaviour(Answer.SHUTDOWN) if nth >= 20 and time.monotonic() < _away_until[gateway] else _FINE


def dead(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """A hundredth of the devices is no longer registered."""
    return Behaviour(Answer.UNREGISTERED) if _lot(token, 100) == 0 else _FINE


def first_is_silent(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """The very first request to FCM is never answered. APNs would get no second one before it."""
    return Behaviour(Answer.NEVER) if gateway is Gateway.FCM and nth == 1 and attempt == 1 else _FINE


def late(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """A fiftieth of the devices is accepted, and answered after the sender's timeout: 2.5 s."""
    return Behaviour(delay_ms=2_500) if attempt == 1 and _lot(token, 50) == 0 else _FINE


def poison(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """FCM refuses the payload of one device for good: the one that asks second."""
    if gateway is Gateway.FCM and nth == 2:
        return Behaviour(Answer.PAYLOAD)
    return _FINE


def another_project(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """FCM takes the secret, and says of every token that it is of another project."""
    return Behaviour(Answer.FOREIGN) if gateway is Gateway.FCM else _FINE


_PAGE = (("content-type", "text/html; charset=UTF-8"),)
_ODD: dict[tuple[Gateway, int], Reply] = {
    (Gateway.FCM, 250): Reply(404, "odd", b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", _PAGE),
    (Gateway.FCM, 400): Reply(403, "odd", b"<!DOCTYPE html><title>Error 403 (Forbidden)!!1</title>", _PAGE),
    (Gateway.APNS, 300): Reply(403, "odd"),
    (Gateway.APNS, 450): Reply(403, "odd", b'{"reason":"Forbidden"}', (("content-type", "application/json"),)),
}


def odd(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """Four answers that would be about everybody, after hundreds were accepted: two of FCM's, two of APNs'."""
    reply = _ODD.get((gateway, nth))
    return _FINE if reply is None else Behaviour(raw=reply)


def nothing_but_pages(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """After 200 acceptances FCM answers everything by a page of HTML, as a proxy in its place would."""
    return Behaviour(raw=_ODD[Gateway.FCM, 250]) if gateway is Gateway.FCM and nth > 200 else _FINE


def payload_for_nobody(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """Both gateways refuse the payload of every device."""
    return Behaviour(Answer.PAYLOAD)


_JSON = (("content-type", "application/json"),)
_AMBIGUOUS = (
    Reply(500, "ambiguous", b'{"error":{"code":500,"status":"INTERNAL","details":[]}}', _JSON),
    Reply(502, "ambiguous", b"<html><title>502 Bad Gateway</title></html>", _PAGE),
    Reply(504, "ambiguous", b'{"error":{"code":504,"status":"DEADLINE_EXCEEDED","details":[]}}', _JSON),
    Reply(500, "ambiguous", b'{"reason":"InternalServerError"}', _JSON),
    Reply(520, "ambiguous"),
)


def ambiguous(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """A tenth of the devices gets the push, and 500, 502, 504 or 520 for an answer. Another tenth: 503, no push."""
    lot = _lot(token, 50)
    if attempt == 1 and lot < len(_AMBIGUOUS):
        return Behaviour(raw=_AMBIGUOUS[lot], processed=True)
    return Behaviour(Answer.UNAVAILABLE) if attempt == 1 and lot >= 45 else _FINE


def everything(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """One in a hundred of each: 503, silence, HTML, no body, late, 429; the rest in 5 ms."""
    if attempt == 1:
        match _lot(token, 600):
            case 0 | 1 | 2 | 3 | 4 | 5:
                return Behaviour(Answer.UNAVAILABLE)
            case 10 | 11 | 12 | 13 | 14 | 15:
                return Behaviour(Answer.NEVER)
            case 20 | 21 | 22 | 23 | 24 | 25:
                return Behaviour(Answer.HTML)
            case 30 | 31 | 32 | 33 | 34 | 35:
                return Behaviour(Answer.EMPTY)
            case 40 | 41 | 42 | 43 | 44 | 45:
                return Behaviour(delay_ms=2_500)
            case 50 | 51 | 52 | 53 | 54 | 55 if gateway is Gateway.FCM:
                return Behaviour(Answer.QUOTA, retry_after="1")
            case _:
                pass
    return _FINE
