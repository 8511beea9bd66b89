"""The function is killed with -9 when rows are written and the ledger does not know it."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="killed-between-rows-and-ledger",
    breaks="The function is killed with -9 when rows are written and the ledger does not know it.",
    expects="The next invocation finds the rows and passes those batches over.",
    aws=(AwsRule("dynamodb", Does.KILL_BEFORE, "UpdateItem", where="#cursor = :cursor"),),
    in_gate=True,
)
