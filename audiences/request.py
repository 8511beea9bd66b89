"""What a request names becomes the inputs of its preparation: objects, pinned before a byte of them is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from audiences.build import Order, found_manifest
from audiences.destinations import Destination
from audiences.faults import AudienceFault
from audiences.fetch import fetch
from audiences.manifest_format import Manifest, audience_id
from audiences.sources import pinned_files
from notifier.audience.pin import pin_parts
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Part

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def pinned_inputs(client: "S3Client", request: Mapping[str, Any], bucket: str) -> tuple[PinnedObject, ...]:
    """The objects that a request names.

    Args:
        bucket: of names without one.

    Raises:
        AudienceFault, AudienceChanged, AudienceUnreachable: there is no such object, or it cannot be read.
    """
    if "parts" in request:
        return pin_parts(client, msgspec.convert(request["parts"], tuple[Part, ...]), bucket)
    if "files" in request:
        return pinned_files(client, request["files"], bucket)
    kind = next(iter(request), "nothing")
    raise AudienceFault(
        f"audience.{kind}: not made here", "prepare it with notifier audience build, and name its parts"
    )


def already_prepared(
    destination: Destination, request: Mapping[str, Any], inputs: tuple[PinnedObject, ...]
) -> Manifest | None:
    """The manifest of what is made of exactly these bytes, if it is there: then nothing has to be fetched."""
    return found_manifest(destination, audience_id(request, inputs))


def order_of(
    client: "S3Client", request: Mapping[str, Any], inputs: tuple[PinnedObject, ...], attempt: int, directory: Path
) -> Order:
    """The order of a request, with its inputs fetched into a directory of this attempt."""
    return Order(request, fetch(client, inputs, directory), attempt)
