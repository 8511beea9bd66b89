"""Names of variants: what a person calls them (`Short Text`), and what files and reports do (`short-text`)."""

import re
import unicodedata
from collections.abc import Mapping

from approval.form import Form

_MAX_CHARS = 32
_ARM = re.compile(r"[a-z0-9_-]{1,32}")


def arm_name(typed: str, number: int) -> str:
    """The arm's name for a typed one: unchanged where that is possible; `variant-2` where no letter of it is left."""
    if not typed or _ARM.fullmatch(typed):
        return typed
    plain = unicodedata.normalize("NFKD", typed).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-")[:_MAX_CHARS].rstrip("-") or f"variant-{number + 1}"


def shown_names(form: Form) -> Mapping[str, str]:
    """What the pages call an arm, by its name."""
    return {arm_name(variant.name, n): variant.name for n, variant in enumerate(form.variants) if variant.name}


_COPY = re.compile(r"(.*?) copy(?: (\d{1,4}))?")


def name_of_copy(name: str) -> str:
    """The name of a copy: `x copy`, and of that one `x copy 2`."""
    if not name:
        return ""
    match = _COPY.fullmatch(name)
    return f"{match[1]} copy {int(match[2] or 1) + 1}" if match else f"{name} copy"
