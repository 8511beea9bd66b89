"""The function takes more memory than it has and is killed for it."""

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="out-of-memory",
    breaks="The function takes more memory than it has and is killed for it.",
    expects="As after any crash: the next invocation goes on.",
    variables={**SLOW, "SANDBOX_BALLAST_ONCE": "a file"},
    behaviour=SLOW_ANSWERS,
    memory_mb=400,
    in_gate=True,
)
