"""The audience library's twin: a batch file, the objects that it names and the manifests, in memory."""

from collections.abc import Mapping
from typing import Any

from notifier.lifecycle.admitted import AdmittedCampaign
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Audience
from notifier.model.cursor import Cursor
from notifier.model.cut import CutParts
from notifier.model.preparation import DivisibleAudience
from notifier.model.run import Source
from tests.twins.audience import MemoryAudience
from tests.twins.hop_factory import users

PREPARED_PART = PinnedObject("b", "audiences/prepared/x/attempt=1/part-00000.jsonl", "v", "e", 1)


class MemoryLibrary:
    """A library with one batch file, which names its audience, and the manifests that a test puts there."""

    def __init__(self, cut: CutParts | None = None, divisible: Mapping[str, DivisibleAudience] | None = None) -> None:
        self.campaign = {"id": "c", "message": {"title": "t", "body": "b"}}
        self.audience: dict[str, Any] = {"parts": [{"key": "audiences/u.json"}]}
        self.asked: list[str] = []
        """What was read, in order: fields of the batch file, and keys of manifests."""
        self.parts: list[list[Any]] = [users(3)]
        self._cut = cut
        self._divisible = divisible or {}

    def head(self, source: Source) -> Any:
        """The batch file without its users."""
        return self

    def pin_source(self, source: Source) -> Any:
        """Of a file with users of its own, which this one has not."""
        raise AssertionError("the file names its audience")

    def pin_parts(self, audience: Audience, bucket: str, field: str) -> tuple[Any, ...]:
        """What the file names, as it is now."""
        self.asked.append(field)
        return tuple(PinnedObject(bucket, part.key, None, "e", 1) for part in audience.parts)

    def prepared_parts(self, manifest: str) -> tuple[Any, ...]:
        """A prepared audience of one part."""
        self.asked.append(manifest)
        return (PREPARED_PART,)

    def divisible_audience(self, manifest: str) -> DivisibleAudience:
        """The manifest of this key."""
        return self._divisible[manifest]

    def cut_parts(self, manifest: str) -> CutParts:
        """The cut's manifest, whatever its key."""
        assert self._cut is not None
        self.asked.append(manifest)
        return self._cut

    def stream_from_start(self, admitted: AdmittedCampaign) -> MemoryAudience:
        """The users."""
        return MemoryAudience(self.parts, Cursor())
