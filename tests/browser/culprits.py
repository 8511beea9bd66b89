"""Two gateways in trouble, for the stand-ins: FCM fails half of the time, APNs takes a second and a half."""

from sandbox.gateways.behaviour import Answer, Behaviour, Gateway


def behave(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """What the stand-ins do with the nth request."""
    if gateway is Gateway.FCM:
        return Behaviour(Answer.INTERNAL) if nth % 2 else Behaviour()
    return Behaviour(delay_ms=1_500)
