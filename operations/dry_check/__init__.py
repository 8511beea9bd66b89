"""The dry check of `notifier validate`: what the worker would make of a batch file, found without sending anything.

It runs the worker's own code over the campaign and every record: the parsers, the validation, the arms, the texts and
both gateways' payloads. What it does not run is what needs a stack: credentials, the ledger, the gateways themselves.

- `inspection`: the findings as values, which `--json` prints.
- `payloads`: the payloads of a campaign, as both gateways would get them.
- `inspector`: goes over the campaign and the records, and fills the findings.
- `judgement`: what the findings amount to: the faults of the audience as a whole, and the warnings.
- `times`: when the users would be asked, who would be late, and whose time zone is assumed.
- `repeated_keys`: members that a campaign has twice, which every decoder drops silently.
"""

from operations.dry_check.inspection import Inspection, Preview
from operations.dry_check.inspector import Inspector
from operations.dry_check.repeated_keys import repeated_keys

__all__ = ["Inspection", "Inspector", "Preview", "repeated_keys"]
