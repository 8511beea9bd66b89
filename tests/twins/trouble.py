"""What can go wrong with a call to a store."""

import enum
from collections.abc import Callable


class Trouble(enum.Enum):
    """One way for a call to go wrong."""

    NONE = "none"
    """It goes well."""
    LOST = "lost"
    """The call never arrives: the caller sees an error."""
    UNANSWERED = "unanswered"
    """The call does its work, its answer is lost: the caller sees an error."""
    REFUSED = "refused"
    """The store may not be written, until an operator allows it."""
    REPEATED = "repeated"
    """The call does its work, its answer is lost, and the client repeats it by itself."""


class StoreError(Exception):
    """The store could not be reached, or its answer never came."""


Troubles = Callable[[str], Trouble]
"""Asked before every call, by its name."""


def no_trouble(_: str) -> Trouble:
    """Everything goes well."""
    return Trouble.NONE
