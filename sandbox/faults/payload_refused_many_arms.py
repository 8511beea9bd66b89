"""Forty variants, and the gateways refuse the payload of each: no arm alone has many refusals."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="payload-refused-many-arms",
    breaks="Both gateways refuse every payload; forty variants share the devices.",
    expects="The run stops within two hops, although no variant was refused often.",
    behaviour="sandbox.faults.answers:payload_for_nobody",
    users=6_000,
    variants=40,
    status="stopped",
    reason="^payload_refused: ",
    max_hops=2,
    give_up_s=60.0,
)
