"""Our HTTP/2 against Python's `h2` as the server, in memory: any split, any order, any SETTINGS, any end."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.gateway.http2.stream import Outcome
from tests.examples import examples
from tests.unit.http2_peer import LIMITS, TABLES, WINDOWS, Codes, Pair, check, run

PROGRAMS = st.binary(min_size=60, max_size=120)
"""Not shorter: in most of Hypothesis' short ones no request is ever made."""
FIRST_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        Codes.MAX_CONCURRENT_STREAMS: st.sampled_from(LIMITS),
        Codes.INITIAL_WINDOW_SIZE: st.sampled_from(WINDOWS),
        Codes.HEADER_TABLE_SIZE: st.sampled_from(TABLES),
    },
)


@settings(max_examples=examples(500), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FIRST_SETTINGS, st.booleans(), PROGRAMS)
def test_nothing_is_lost_or_ended_twice_and_each_verdict_is_true(
    first: dict[Codes, int], ready: bool, program: bytes
) -> None:
    """Whatever both do: no exception, one outcome for each request, "not processed" only for what was not."""
    pair = Pair(first, ready=ready)
    run(pair, program)
    if not pair.cut:
        pair.settle()
        # The server has answered everything it did not refuse, with wide windows: nothing may be left open.
        assert pair.client.open == 0
        assert not pair.client.ended
        unanswered = [one for one in pair.ended if one.outcome is Outcome.UNANSWERED]
        assert all(one.request.ticket in pair.cancelled or "reset" in one.detail for one in unanswered)
    pair.end()
    check(pair)
