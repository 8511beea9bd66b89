"""How long a form may be. One that is longer is shown again with all that was typed, and is not saved.

What is sent for review has its texts as they were typed, and in its campaign. There they may need far more room: each
variant with a text of its own has those that it takes over, in every language. DynamoDB takes 400 KB in an item.
"""

import msgspec

from approval.form import TEXTS, Faults, Form, flat
from notifier.model.campaign import Campaign, Part

MAX_FIELD_CHARS = 5_000
MAX_FORM_BYTES = 180_000
"""Of a draft, as it is stored."""
MAX_REVIEW_BYTES = 380_000
"""Of a form, its campaign and the parts of its audience, as they are stored. The rest of the item is for approvals, a
comment and what is written later."""
_encode = msgspec.json.Encoder(decimal_format="number").encode  # as the store does


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


def review_faults(form: Form, campaign: Campaign, parts: tuple[Part, ...]) -> Faults:
    """The longest text of a form that could be kept as a draft, and not with its campaign."""
    room = MAX_REVIEW_BYTES - len(_encode(parts))
    total = len(_encode(form)) + len(_encode(campaign))
    if total <= room:
        return {}
    texts = ((name, text) for name, text in flat(form) if name.rpartition(".")[2] in TEXTS)
    _, longest = max((len(_encode(text)), name) for name, text in texts)
    return {
        longest: "Too much to be sent for review: a variant with a text of its own has the texts of all languages once "
        f"more. With them it has {total:,} bytes, and at most {room:,} fit. Shorten this text, the longest, and "
        "others, or have fewer languages or variants."
    }
