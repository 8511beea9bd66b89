"""What both gateways have against a campaign's own additions to their payloads."""

from collections.abc import Iterator

from notifier.campaign import Campaign, Fault
from notifier.gateway.apns import message as apns
from notifier.gateway.fcm import message as fcm


def addition_faults(campaign: Campaign) -> Iterator[Fault]:
    """The faults of any message of the campaign, each with its place."""
    places = [("campaign.message", campaign.message)]
    places += [(f"campaign.variants[{n}].message", variant.message) for n, variant in enumerate(campaign.variants)]
    for place, message in places:
        yield from fcm.addition_faults(message, place)
        yield from apns.addition_faults(message, place)
