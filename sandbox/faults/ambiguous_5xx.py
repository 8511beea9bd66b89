"""A server that fails after its work: the push is out, the answer is 500, 502, 504 or 520."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="ambiguous-5xx",
    breaks="A tenth of the devices gets the push and 500, 502, 504 or 520 for an answer; a tenth gets 503 and no push.",
    expects="The former are asked for again in a later round and counted as possibly repeated; the latter are not.",
    behaviour="sandbox.faults.answers:ambiguous",
)
