"""Other runs over a request's audience, of these pages or not: approvers must see that users would get two pushes."""

from collections.abc import Iterable, Sequence

import msgspec

from approval.form import names_in
from approval.request import Request
from approval.runs import Runs, RunSeen
from approval.store import ListedRequest
from notifier.model.campaign import Part

MAX_SHOWN = 10


class OtherRun(msgspec.Struct, frozen=True):
    """A run over the same files.

    `request_id` is empty if no request of these pages began it; `seen` is None until the notifier knows the run.
    """

    run_id: str
    title: str
    at_ms: int
    request_id: str = ""
    seen: RunSeen | None = None


def other_runs(
    request: Request, made_of: Sequence[Part], listed: Iterable[ListedRequest], runs: Runs
) -> tuple[OtherRun, ...]:
    """The latest ones, newest first. Files are compared by key: next week's version of one is the same audience.

    Args:
        made_of: the files that the request's audience was made of.
    """
    keys = {part.key for part in (*request.parts, *made_of)} | set(names_in(request.form))
    parts = (*request.parts, *made_of)
    found = {run.run_id: OtherRun(run.run_id, run.campaign_id, run.at_ms) for run in runs.over(parts, MAX_SHOWN)}
    # A run of these pages has its request's title, and is known before the notifier has read its batch file.
    found |= {
        s.run_id: OtherRun(s.run_id, s.title, s.updated_at_ms, s.id)
        for s in listed
        if s.run_id and keys & set(s.audience)
    }
    if request.written is not None:
        found.pop(request.written.run_id, None)
    latest = sorted(found.values(), key=lambda other: other.at_ms, reverse=True)[:MAX_SHOWN]
    return tuple(msgspec.structs.replace(other, seen=runs.run(other.run_id)) for other in latest)
