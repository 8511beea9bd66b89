"""Any bytes in the place of a batch file or of an answer: nothing escapes but the faults that are meant to.

`FUZZ_EXAMPLES=200000 pytest tests/unit/test_fuzz.py` makes it a longer run, `python -m tests.fuzzing 600` a long one.
"""

import os
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import SAMPLES, TARGETS, TOKENS, by_mutation

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "600"))
MUTATIONS = 3_000
PEAK_BYTES = 16 * 1024 * 1024

_words = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=12), max_size=60).map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    """Rows of JSON's own words, and of any bytes, behind each of the choices that a first byte makes."""

    @given(st.binary(min_size=3, max_size=3), _words | st.sampled_from(SAMPLES[name]))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def check(head: bytes, text: bytes) -> None:
        TARGETS[name](head + text)
        TARGETS[name](head[:1] + text)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_samples(name: str) -> None:
    """Real ones, cut, doubled, spliced, bits flipped: no exception escapes, and memory stays what it was."""
    tracemalloc.start()
    try:
        assert by_mutation(name, 60.0, seed=1, limit=MUTATIONS) == MUTATIONS
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    finally:
        tracemalloc.stop()
