"""Checks of JSON fields: type and range. A fault names the field and what to write instead.

msgspec reports one wrong field of a message, in terms of its types. The author of a message needs all of them, and for
each the value to write.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches

from notifier.model.plain_words import SHOWN_CHARS, described, digits, quoted
from notifier.model.validation import Fault, printable_name

Check = Callable[[object, str], Iterator[Fault]]
"""Yields the faults of a value. The second argument names the field: `campaign.message.fcm.android.ttl`."""

MAX_INT32 = 2**31 - 1
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_DURATION = re.compile(r"(\d+)(\.\d{1,9})?s")
_LIKE_A_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?[a-z]*\s*", re.IGNORECASE)


def text(value: object, field: str) -> Iterator[Fault]:
    """A text."""
    if isinstance(value, str):
        return
    is_scalar = isinstance(value, bool | int | float | Decimal)
    yield Fault(field, f"{described(value)} is not a text", f"write {_as_text(value)}" if is_scalar else "write a text")


def _as_text(value: object) -> str:
    return quoted(str(value).lower() if isinstance(value, bool) else digits(value))  # type: ignore[arg-type]


def flag(value: object, field: str) -> Iterator[Fault]:
    """True or false."""
    if isinstance(value, bool):
        return
    known = {"true": "true", "1": "true", "false": "false", "0": "false"}.get(str(value).strip().lower())
    yield Fault(field, f"{described(value)} is neither true nor false", f"write {known or 'true or false'}")


def number(least: int | None = None, most: int | None = None, *, whole: bool = False) -> Check:
    """A number within a range."""
    kind = "whole number" if whole else "number"

    def check(value: object, field: str) -> Iterator[Fault]:
        is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        if not is_number or (whole and value != int(value)):  # type: ignore[call-overload]
            yield Fault(field, f"{described(value)} is not a {kind}", f"write {_number_in(value) or f'a {kind}'}")
        elif (least is not None and value < least) or (most is not None and value > most):  # type: ignore[operator]
            yield Fault(field, f"{described(value)} is out of range", f"{_range(least, most)}")

    return check


def _range(least: int | None, most: int | None) -> str:
    return f"from {least} to {most}" if most is not None else f"{least} or more"


def _number_in(value: object) -> str:
    """The number that a text or a boolean was meant as; empty where there is none."""
    if isinstance(value, bool):
        return str(int(value))
    found = re.fullmatch(r"\s*(\d{1,12})\s*", value) if isinstance(value, str) else None
    return found[1] if found else ""


def one_of(*words: str) -> Check:
    """One of some words, spelled exactly so."""

    def check(value: object, field: str) -> Iterator[Fault]:
        if value in words and isinstance(value, str):
            return
        # By its end: an author who writes `high` means PRIORITY_HIGH.
        near = [word for word in words if _plain_name(word).endswith(_plain_name(str(value)))]
        mend = f'write "{near[0]}"' if near and str(value).strip() else f"one of {', '.join(words)}"
        yield Fault(field, f"{described(value)} is not known here", mend)

    return check


def matching(pattern: str, what: str) -> Check:
    """A text that matches a pattern; `what` describes it to people."""
    expression = re.compile(pattern)

    def check(value: object, field: str) -> Iterator[Fault]:
        if not isinstance(value, str):
            yield from text(value, field)
        elif not expression.fullmatch(value):
            yield Fault(field, f"{described(value)} is not {what}")

    return check


def duration(most_s: int | None = None) -> Check:
    """Seconds as Google's APIs write them: `"86400s"`."""

    def check(value: object, field: str) -> Iterator[Fault]:
        if not isinstance(value, str) or not _DURATION.fullmatch(value):
            seconds = _seconds_in(value)
            yield Fault(field, f"{described(value)} is not a duration", f'write "{seconds or "86400"}s"')
        elif most_s is not None and Decimal(value[:-1]) > most_s:
            yield Fault(field, f"{described(value)} is too long", f'at most "{most_s}s"')

    return check


def _seconds_in(value: object) -> str:
    """The seconds meant by 86400, "86400" or "24h"; empty where that is not clear."""
    found = _LIKE_A_DURATION.fullmatch(str(value)) if not isinstance(value, bool) else None
    # A number of any length would be computed and printed.
    if not found or len(found[1]) > SHOWN_CHARS:
        return ""
    seconds = Decimal(found[1]) * _SECONDS[(found[2] or "s").lower()]
    return f"{seconds.normalize():f}"


def moment(value: object, field: str) -> Iterator[Fault]:
    """A time as RFC 3339 has it, with its offset."""
    try:
        if isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None:
            return
    except ValueError:
        pass
    yield Fault(field, f"{described(value)} is not a time with an offset", 'write it as in "2026-11-21T20:00:00Z"')


def web_address(value: object, field: str) -> Iterator[Fault]:
    """An http or https address."""
    if not isinstance(value, str):
        yield from text(value, field)
    elif not value.lower().startswith(("https://", "http://")):
        yield Fault(field, f"{described(value)} is not a web address", "write it as in https://cdn.example.com/a.png")


def list_of(item: Check) -> Check:
    """A list of such values."""

    def check(value: object, field: str) -> Iterator[Fault]:
        if not isinstance(value, list | tuple):
            yield Fault(field, f"{described(value)} is not a list", "write a list: […]")
            return
        for n, one in enumerate(value):
            yield from item(one, f"{field}[{n}]")

    return check


def either(*checks: tuple[type | tuple[type, ...], Check]) -> Check:
    """The check for the value's type; the first one where there is none."""

    def check(value: object, field: str) -> Iterator[Fault]:
        chosen = next((one for kind, one in checks if isinstance(value, kind)), checks[0][1])
        yield from chosen(value, field)

    return check


def an_object(value: object, field: str) -> Iterator[Fault]:
    """An object of any members."""
    if not isinstance(value, Mapping):
        yield Fault(field, f"{described(value)} is not an object", "write an object: {…}")


def refused(problem: str, mend: str) -> Check:
    """A field that gateways know and a campaign may not set."""

    def check(_: object, field: str) -> Iterator[Fault]:
        yield Fault(field, problem, mend)

    return check


def texts_by_name(refused_name: re.Pattern[str]) -> Check:
    """An object of texts, under names that are not refused."""

    def check(value: object, field: str) -> Iterator[Fault]:
        if not isinstance(value, Mapping):
            yield from an_object(value, field)
            return
        for name, one in value.items():
            at = f"{field}.{printable_name(name)}"
            if refused_name.fullmatch(str(name)):
                yield Fault(at, "this key is reserved", "rename it")
            yield from text(one, at)

    return check


class Members:
    """An object with known members.

    Args:
        known: the check of each member, by name.
        is_protobuf: a name may be written `channel_id` or `channelId`, as JSON for protobuf allows.
    """

    def __init__(self, known: Mapping[str, Check], *, required: Iterable[str] = (), is_protobuf: bool = False) -> None:
        self.known = known
        self._required = tuple(required)
        self._is_protobuf = is_protobuf

    def __call__(self, value: object, field: str) -> Iterator[Fault]:
        """Every fault of the object, and of what is in it."""
        if not isinstance(value, Mapping):
            yield from an_object(value, field)
            return
        seen = set()
        for given, one in value.items():
            name = self.name_of(given)
            at = f"{field}.{printable_name(given)}"
            if name in seen:
                yield Fault(at, f"{name} is given twice", "leave one of them out")
            elif name not in self.known:
                yield Fault(at, "unknown field", self._mend(name))
            else:
                yield from self.known[name](one, at)
            seen.add(name)
        # Under the known name: `channelId` satisfies what requires `channel_id`.
        for name in self._required:
            if name not in seen:
                yield Fault(f"{field}.{name}", "missing")

    def name_of(self, given: str) -> str:
        """The name by which a member is known."""
        return snake_case(given) if self._is_protobuf and given not in self.known else given

    def named(self, value: Mapping[str, object]) -> dict[str, object]:
        """The object with every known member, at any depth, under the name by which it is known."""
        found = {}
        for given, one in value.items():
            name = self.name_of(given)
            check = self.known.get(name)
            found[name] = check.named(one) if isinstance(check, Members) and isinstance(one, Mapping) else one
        return found

    def _mend(self, name: str) -> str:
        """The likely intended name: equal but for case and hyphens, nearly the same, or known at a deeper level."""
        same = [one for one in self.known if _plain_name(one) == _plain_name(name)]
        near = same or get_close_matches(name, self.known, n=1, cutoff=0.75)
        if near:
            return f"write {near[0]}"
        # `sound` at the top, which belongs under `android.notification`.
        if inner := self._parent_of(name):
            return f"write it under {inner}"
        return f"known: {', '.join(self.known)}"

    def _parent_of(self, name: str) -> str:
        """The path of the member that knows a field of this name; empty where none does."""
        for within, check in self.known.items():
            if isinstance(check, Members):
                if any(_plain_name(one) == _plain_name(name) for one in check.known):
                    return within
                if further := check._parent_of(name):
                    return f"{within}.{further}"
        return ""


def snake_case(name: str) -> str:
    """`channelId` as `channel_id`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def _plain_name(name: str) -> str:
    return re.sub(r"[-_\s]", "", name).lower()
