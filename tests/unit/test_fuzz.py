"""Any bytes in the place of a batch file or of an answer: nothing escapes but the faults that are meant to.

The gate tries few, `make deep` many, and `python -m tests.fuzzing 600` as many as go into ten minutes.
"""

import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.gateway.http2.stream import Outcome
from tests.examples import examples
from tests.fuzzing import SAMPLES, TARGETS, TOKENS, by_mutation, talk_to_server

MUTATIONS = examples(300)
PEAK_BYTES = 16 * 1024 * 1024

pytestmark = pytest.mark.hypothesis  # for `make deep`: it finds tests by @given, and here that is inside of one

_words = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=12), max_size=60).map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    """Rows of JSON's own words, and of any bytes, behind each of the choices that a first byte makes."""

    @given(st.binary(min_size=3, max_size=3), _words | st.sampled_from(SAMPLES[name]))
    @settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
    def check(head: bytes, text: bytes) -> None:
        TARGETS[name](head + text)
        TARGETS[name](head[:1] + text)

    check()


def test_the_servers_samples_reach_the_requests() -> None:
    """Undamaged, they answer and refuse requests: what is mutated is no noise to begin with."""
    ended = [talk_to_server(sample) for sample in SAMPLES["server"]]
    assert {stream.status for streams in ended for stream in streams} >= {200, 404, 429}
    assert Outcome.REFUSED in {stream.outcome for streams in ended for stream in streams}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_samples(name: str) -> None:
    """Real ones, cut, doubled, spliced, bits flipped: no exception escapes, and memory stays what it was."""
    tracemalloc.start()
    try:
        assert by_mutation(name, 600.0, seed=1, limit=MUTATIONS) == MUTATIONS
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    finally:
        tracemalloc.stop()
