"""How many examples the property tests try: few in the gate, twenty times as many by `make deep`."""

from hypothesis import settings

GATE, DEEP = "gate", "deep"
TIMES = 20
"""As many times the gate's examples does `make deep` try: some 6,000 histories of a run, in about four minutes."""
_USUAL = 100
"""hypothesis tries so many where a test does not say."""

# Both leave out hypothesis's deadline of 200 ms for an example: it measures how busy the machine is.
settings.register_profile(GATE, max_examples=_USUAL, deadline=None)
# Where CI=true, hypothesis derives the gate's examples from the test's name: they are the same in every run. Here never.
settings.register_profile(DEEP, max_examples=_USUAL * TIMES, deadline=None, derandomize=False, print_blob=True)


def examples(in_gate: int) -> int:
    """How many examples a test tries that needs so many in the gate: in proportion to the profile in use."""
    return in_gate * settings.default.max_examples // _USUAL
