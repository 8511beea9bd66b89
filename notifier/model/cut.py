"""The final cut of a run's audience, as the worker reads it: `audiences.cut` makes it when the run begins.

It only removes users of the prepared audience and orders the others. What it removed is counted in the run's account.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from notifier.model.preparation import ManifestPart

CUT_VERSION: Literal[1] = 1
CUT_PREFIX = "audiences/cut/"
CUT_LIST = "cut.json.gz"
"""The list of those who were left out, among a run's objects under `excluded/`."""


class Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some of the parts, and the time in which their users may first be asked. A window is a lane.

    `first_part` is the index of its first part; the record of that one is a multiple of 500, as of every part.
    """

    number: int
    first_part: int
    parts: int
    users: int
    not_before: Annotated[str | None, Meta(description="UTC, ISO 8601; none: as soon as the run begins.")] = None
    not_after: Annotated[str | None, Meta(description="UTC, ISO 8601, exclusive; none: no limit.")] = None


class CutParts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The manifest of a final cut, as far as the worker reads it; kept under `state/` for the run's later hops."""

    version: int
    parts: tuple[ManifestPart, ...]
    windows: tuple[Window, ...]
    excluded_by: Mapping[str, int] = {}
