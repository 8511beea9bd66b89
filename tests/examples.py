"""How many examples the property tests try: few in the gate, forty times as many by `make deep`."""

from hypothesis import settings

GATE, DEEP = "gate", "deep"
TIMES = 40
"""How many examples `make deep` tries for one of the gate's."""
_USUAL = 100
"""hypothesis tries so many where a test does not say."""

# Both leave out hypothesis's deadline of 200 ms for an example: it measures how busy the machine is.
settings.register_profile(GATE, max_examples=_USUAL, deadline=None)
# Where CI=true, hypothesis derives examples from the test's name: the gate tries the same in every run, `deep` never.
settings.register_profile(DEEP, max_examples=_USUAL * TIMES, deadline=None, derandomize=False, print_blob=True)


def examples(in_gate: int) -> int:
    """How many examples a test tries that needs so many in the gate: in proportion to the profile in use."""
    profile = settings.get_profile(settings.get_current_profile_name())
    return in_gate * profile.max_examples // _USUAL
