"""A run's preparation: the audience function makes its audience while the run's lane rests.

worker        approved, named ── asked ── lane rests                        claim ── judged, id taken, begun
audience function                   claim ── renew … ── manifest ── prepared ── lane ready, nudge
killed                              claim ── X  lease ends, sweeper ── claim (attempt 2) ── …
a warehouse asked                   claim ── query started, put down … its end, or the sweeper's minute ── claim ── …

The final cut goes the same way, with the same item, once the run's `not_before` has come:

worker        id taken, begun ── asked ── lane rests                        claim ── cut read ── sending
audience function                   claim ── renew … ── cut's manifest ── prepared ── lane ready, nudge
"""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from notifier.model.batch_file import PinnedObject
from notifier.model.run import PREPARING

PREPARATION_LEASE_MS = 60_000
"""An attempt that has not renewed for so long was killed: the next one may begin."""
MAX_ATTEMPTS = 3
LANES = "lanes"
"""The member that the worker adds to a request where its run is to be spread over so many lanes."""
IN_BATCH_FILE = "in_batch_file"
"""The same where the object is a batch file with its users in it."""
MANIFEST_VERSION = 1
"""Of the manifest of a prepared audience."""


class Stage(enum.StrEnum):
    """What a preparation makes."""

    PREPARE = "prepare"
    """The audience: it pins who may get the push."""
    CUT = "cut"
    """The final cut: it only removes users and orders the others."""
    CONVERSIONS = "conversions"
    """What came of a run's goal: its conversions, counted by arm."""
    CAPS = "caps"
    """What a run that is over counts for caps: whom it has reached."""


class PreparationState(enum.StrEnum):
    """What has become of a preparation."""

    ASKED = "asked"
    """No attempt has begun."""
    PREPARING = "preparing"
    """An attempt is under way, or was killed."""
    PREPARED = "prepared"
    """The manifest is there."""
    FAILED = "failed"
    """The audience cannot be made; `reason` says why."""
    CANCELLED = "cancelled"
    """The run was cancelled meanwhile."""

    @property
    def is_over(self) -> bool:
        """No attempt is made any more."""
        return self not in (PreparationState.ASKED, PreparationState.PREPARING)


class Preparation(msgspec.Struct, frozen=True):
    """A preparation as the ledger's table has it.

    Args:
        request: the batch file's `audience`, as JSON.
        bucket: of names in the request that have none.
        attempts: how many have begun.
        owner: the attempt that has the lease.
        manifest: the manifest's key in the stack's bucket, once the audience is prepared.
        progress: what the attempt does at the moment, for people.
        queries: what warehouses run for it, as JSON; empty where none does. Meanwhile no attempt is under way.
        worker: whom to invoke once it is over, if nobody names the worker then.
        due_at_ms: when it is to be looked at; None once the lane was nudged.
        asked_at_ms: of an order of the pages, which may be asked for again, with other queries then; 0 of a run.
        stage: what is made. `attempts`, `manifest` and all that follows are of this stage.
    """

    run_id: str
    state: PreparationState
    request: str
    bucket: str
    attempts: int = 0
    lease_until_ms: int = 0
    owner: str = ""
    manifest: str = ""
    reason: str = ""
    progress: str = ""
    queries: str = ""
    worker: str = ""
    due_at_ms: int | None = None
    asked_at_ms: int = 0
    stage: Stage = Stage.PREPARE

    @property
    def words(self) -> str:
        """What is going on, as `status` shows it."""
        if self.state is PreparationState.ASKED:
            return f"{PREPARING}the audience function was asked {_ASKED[self.stage]}"
        attempt = f" (attempt {self.attempts} of {MAX_ATTEMPTS})" if self.attempts > 1 else ""
        return f"{PREPARING}{self.progress or _DOING[self.stage]}{attempt}"


_ASKED = {
    Stage.PREPARE: "to make the audience",
    Stage.CUT: "for the final cut: who is left out as of now",
    Stage.CONVERSIONS: "to count the conversions",
    Stage.CAPS: "whom the run has reached, for caps",
}
_DOING = {
    Stage.PREPARE: "making the audience",
    Stage.CUT: "the final cut: leaving out who must not get it",
    Stage.CONVERSIONS: "counting the conversions",
    Stage.CAPS: "counting whom the run has reached",
}


class ManifestPart(msgspec.Struct, frozen=True):
    """What the worker needs to know of a prepared part."""

    bucket: str
    key: str
    etag: str
    bytes: int
    users: int = 0
    version_id: str | None = None
    first_record: int = 0

    @property
    def pinned(self) -> PinnedObject:
        """As every other part of an audience."""
        return PinnedObject(self.bucket, self.key, self.version_id, self.etag, self.bytes)


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


class DivisibleAudience(msgspec.Struct, frozen=True):
    """A manifest, of a prepared audience or of its final cut, as far as it says how the audience can be divided."""

    parts: tuple[ManifestPart, ...]
    devices: dict[str, int] = {}
    """By gateway."""
    windows: tuple[Window, ...] = ()
    """Of a final cut: the times in which users may first be asked."""

    @property
    def is_timed(self) -> bool:
        """Whether some users may be asked at certain times only."""
        return any(window.not_before or window.not_after for window in self.windows)

    @property
    def end(self) -> int:
        """How many records there are: the number after that of the last."""
        return max((part.first_record + part.users for part in self.parts), default=0)


class ManifestParts(msgspec.Struct, frozen=True):
    """The manifest of a prepared audience, as far as the worker reads it. `audiences.manifest` writes it."""

    version: int
    id: str
    parts: tuple[ManifestPart, ...]
