"""A test device as its owner sees it."""

import msgspec

from approval.store import TestDevice
from notifier.model.recipient import masked


class DeviceView(msgspec.Struct, frozen=True):
    """A test device as the page shows it to its owner: the token masked."""

    id: str
    label: str
    platform: str
    environment: str
    gateway: str
    token: str


def device_view(device: TestDevice) -> DeviceView:
    """The device for its owner's eyes."""
    gateway = device.gateway or ("apns" if device.platform == "ios" else "fcm")
    return DeviceView(device.id, device.label, device.platform, device.environment, gateway, masked(device.token))
