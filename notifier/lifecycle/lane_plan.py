"""Over how many lanes a run is spread, and what each of them sends. Decided once, when the run begins.

Only a prepared audience is spread: its manifest says with which record each part begins. Everything else is one lane.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from notifier.lifecycle.admitted import STATE_GONE, AdmittedCampaign, Library, NotAdmitted
from notifier.model.campaign import Campaign
from notifier.model.ledger import Ledger
from notifier.model.preparation import DivisibleAudience, PreparationState
from notifier.model.run import Lane, Run
from notifier.model.span import MAX_LANES, Span, spans_of
from notifier.sending.results import Results

LANES = "lanes"
"""The name of the stored plan under `state/`. A run of one lane has none."""
DEVICES_A_LANE = 400_000
"""Devices of Apple's for each lane, where the campaign does not say how many lanes it wants: about a minute's work.

Of Google's none: its quota is the project's, and one lane can use it up.
"""
MOST_BY_RULE = 16
"""More lanes than this are opened only for a campaign that asks for them."""


class LanePlan:
    """Plans the lanes of runs.

    Args:
        room: how many lanes the account's concurrency allows, and why not more.
    """

    def __init__(
        self,
        library: Library,
        results: Results,
        ledger: Ledger,
        room: Callable[[], int] = lambda: MAX_LANES,
    ) -> None:
        self._library = library
        self._results = results
        self._ledger = ledger
        self._room = room

    def of(self, run: Run, lane: Lane, admitted: AdmittedCampaign) -> tuple[Span, ...]:
        """What each lane of the run sends; nothing where it has one lane, or its lanes are open.

        Raises:
            NotAdmitted: the manifest cannot be read.
        """
        # A lane that has begun without a span is the only one: it may be of a release that knows no others.
        if admitted.inline or lane.span is not None or lane.has_begun:
            return ()
        stored = self._results.get_state(run.run_id, LANES)
        if stored is None:
            spans = self._planned(run, admitted)
            if not spans:
                return ()
            self._results.put_state(run.run_id, LANES, spans)
            # Read back: of two claims that plan at the same time the first one's plan counts.
            stored = self._results.get_state(run.run_id, LANES)
        if stored is None:
            raise NotAdmitted(STATE_GONE)
        return msgspec.json.decode(stored, type=tuple[Span, ...])

    def _planned(self, run: Run, admitted: AdmittedCampaign) -> tuple[Span, ...]:
        preparation = self._ledger.read_preparation(run.run_id)
        if preparation is None or preparation.state is not PreparationState.PREPARED:
            return ()
        found = self._library.divisible_audience(preparation.manifest)
        # The parts that the run sends, and no others: the lanes would be those of another audience.
        if not found.parts or tuple(part.pinned for part in found.parts) != admitted.parts:
            return ()
        # The final cut's manifest has no counts. Those of the audience that was cut are near enough for a rule.
        devices = found.devices or self._library.divisible_audience(admitted.prepared).devices
        wanted = wanted_lanes(admitted.campaign, devices)
        if found.is_timed:
            return window_spans(found, min(wanted, self._room()) if wanted > 1 else 1)
        if wanted == 1:
            return ()
        return spans_of([part.first_record for part in found.parts], found.end, min(wanted, self._room()))


def window_spans(audience: DivisibleAudience, wanted: int) -> tuple[Span, ...]:
    """A lane for each window; several for a window with so large a share of the users.

    Args:
        wanted: how many lanes the campaign would have without windows.
    """
    # A window without users would be a lane without records.
    windows = [window for window in audience.windows if window.users]
    users = sum(window.users for window in windows)
    # Windows come first: one without a lane would never be sent.
    spare = max(MAX_LANES - len(windows), 0)
    found: list[Span] = []
    for window in windows:
        parts = audience.parts[window.first_part : window.first_part + window.parts]
        first, end = parts[0].first_record, parts[-1].first_record + parts[-1].users
        lanes = 1 + min(spare, max(round(wanted * window.users / users), 1) - 1)
        divided = spans_of([part.first_record - first for part in parts], end - first, lanes)
        spare -= max(len(divided) - 1, 0)
        for span in divided or (Span(0, end - first, 0, len(parts), 1),):
            at = window.first_part
            found.append(
                Span(
                    span.first + first,
                    span.end + first,
                    span.part + at,
                    span.end_part + at,
                    1,
                    _milliseconds(window.not_before),
                    _milliseconds(window.not_after),
                )
            )
    return tuple(msgspec.structs.replace(span, lanes=len(found)) for span in found)


def _milliseconds(at: str | None) -> int | None:
    return None if at is None else int(datetime.fromisoformat(at).timestamp() * 1000)


def wanted_lanes(campaign: Campaign, devices: Mapping[str, int]) -> int:
    """How many lanes a campaign wants: as many as it says, or by the devices of Apple's.

    Args:
        devices: by gateway.
    """
    if campaign.lanes is not None:
        return campaign.lanes
    # Tests are few, and a rate of the campaign's own is reached by one lane.
    if campaign.test or campaign.per_second is not None:
        return 1
    return max(1, min(devices.get("apns", 0) // DEVICES_A_LANE, MOST_BY_RULE))
