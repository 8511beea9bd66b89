"""The final cut of a run's audience, as the worker reads it: `audiences.cut` makes it when the run begins.

It only removes users of the prepared audience and orders the others. What it removed is counted in the run's account.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from notifier.model.preparation import ManifestPart
from notifier.model.preparation import Window as Window  # noqa: PLC0414 - its readers know it from here

CUT_VERSION: Literal[1] = 1
CUT_PREFIX = "audiences/cut/"
CUT_LIST = "cut.json.gz"
"""The list of those who were left out, among a run's objects under `excluded/`."""


class CutParts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The manifest of a final cut, as far as the worker reads it; kept under `state/` for the run's later hops."""

    version: int
    parts: tuple[ManifestPart, ...]
    windows: tuple[Window, ...]
    excluded_by: Mapping[str, int] = {}
    timezone_assumed: int = 0
