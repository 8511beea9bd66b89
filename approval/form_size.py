"""How long a form may be. One that is longer is shown again with all that was typed, and is not saved."""

import msgspec

from approval.form import Faults, Form, flat

MAX_FIELD_CHARS = 5_000
MAX_FORM_BYTES = 180_000
"""As it is stored. DynamoDB takes at most 400 KB in an item, and a request that was sent for review has its texts
twice: as they were typed, and in the campaign."""
_encode = msgspec.json.Encoder().encode


def length_faults(form: Form) -> Faults:
    """Each field that is too long; of a form that is too long as a whole, its longest field."""
    long = {name: len(value) for name, value in flat(form) if len(value) > MAX_FIELD_CHARS}
    if long:
        return {
            name: f"{n:,} characters are too many: at most {MAX_FIELD_CHARS:,} are kept." for name, n in long.items()
        }
    total = len(_encode(form))
    if total <= MAX_FORM_BYTES:
        return {}
    size, name = max((len(_encode(value)) - len('""'), name) for name, value in flat(form))
    return {
        name: f"All texts together have {total:,} bytes, and at most {MAX_FORM_BYTES:,} are kept. "
        f"This is the longest, with {size:,}."
    }
