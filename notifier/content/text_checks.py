"""A campaign's texts held against an audience: what they ask for that nobody has, what looks like a placeholder.

`faults_in` is judged before anything is sent, by the worker over the first records and by `validate` likewise; the rest
is warnings for people.
"""

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches

from notifier.content.dialects import lookalikes
from notifier.content.render import USER_ID, Renderer, sources_of, values_of
from notifier.content.template import UnfitValue, compiled, has_placeholder
from notifier.model.campaign import Campaign, Fault
from notifier.model.recipient import BrokenRecord, Recipient, read_recipient

MAX_UNFIT_SHARE = 0.2
"""More records with a value that a text cannot use, and it is the text, or the export, that is wrong."""
_SEEN_BEFORE = frozenset(
    {"Address", "Attributes", "ChannelType", "Demographic", "Endpoint", "Id", "Location", "Metrics", "User"}
)
"""Pinpoint's members of an endpoint. A record here has only attributes."""


def faults_in(campaign: Campaign, records: Sequence[object], *, shown: bool = False) -> Iterator[Fault]:
    """Why these first records say that a text is wrong.

    Args:
        shown: with a value that does not fit, for somebody who looks at the records. Never where it is stored.
    """
    sources = [(place, source) for place, source in sources_of(campaign) if has_placeholder(source)]
    recipients = list(_recipients(records)) if sources else []
    if not recipients:
        return
    yield from unquoted_faults(campaign, names_in(recipients))
    renderer, unfit = Renderer(campaign), []
    for recipient in recipients:
        try:
            renderer.check(recipient)
        except UnfitValue:
            unfit.append(recipient)
        except BrokenRecord:
            continue
    if len(unfit) > MAX_UNFIT_SHARE * len(recipients):
        yield from _unfit_faults(sources, unfit[0], f"for {len(unfit):,} of {len(recipients):,} records", shown=shown)


def _recipients(records: Sequence[object]) -> Iterator[Recipient]:
    for record in records:
        try:
            if not isinstance(record, BrokenRecord):
                yield read_recipient(record)
        except BrokenRecord:
            continue


def names_in(recipients: Sequence[Recipient]) -> frozenset[str]:
    """The attributes that somebody has."""
    return frozenset(
        name for recipient in recipients for name, value in recipient.attributes.items() if value is not None
    )


def names_of(records: Sequence[object]) -> frozenset[str]:
    """The attributes that somebody in these records has, broken or not by the texts."""
    return names_in(list(_recipients(records)))


def unquoted_faults(campaign: Campaign, names: Collection[str]) -> Iterator[Fault]:
    """Words that should be in quotes: they are written like attributes, and nobody has such an attribute."""
    for place, source in sources_of(campaign):
        for word in sorted(unquoted_in(source, names)):
            yield Fault(place, f"`{word}` is no attribute of anybody", f"did you mean '{word}', in quotes?")


def unquoted_in(source: str, names: Collection[str]) -> frozenset[str]:
    """Words of one text that stand where an attribute or a quoted text would, and are no attribute of anybody."""
    return frozenset(compiled(source).unquoted - {USER_ID} - set(names)) if has_placeholder(source) else frozenset()


def _unfit_faults(sources: list[tuple[str, str]], recipient: Recipient, told: str, *, shown: bool) -> Iterator[Fault]:
    """Each text that this recipient's values do not fit."""
    for place, source in sources:
        try:
            compiled(source).render(values_of(recipient))
        except UnfitValue as error:
            yield Fault(place, f"cannot be filled in {told}: {error.shown if shown else error}")
        except BrokenRecord:
            continue


# ------------------------------------------------------------------------------------------------ for people


def warnings_of(campaign: Campaign, names: Collection[str]) -> Iterator[str]:
    """What would be sent and was hardly meant.

    Args:
        names: the attributes that somebody in the audience has.
    """
    for place, source in sources_of(campaign):
        for warning in sent_as_it_is(source, names):
            yield f"{place}: {warning}"
        if has_placeholder(source):
            yield from _unknown_names(place, source, names)


def sent_as_it_is(source: str, names: Collection[str]) -> Iterator[str]:
    """What in a text looks like a placeholder, or a comment, and is none."""
    for written, name in lookalikes(source, names):
        yield f"{written} is sent as it is; for the attribute of this name write {{{{ {name} }}}}"
    if "{#" in source and "#}" in source:
        yield "{# … #} is no comment here and is sent: write {% comment %}…{% endcomment %}"


def _unknown_names(place: str, source: str, names: Collection[str]) -> Iterator[str]:
    template = compiled(source)
    for name in sorted(template.roots - template.unquoted - {USER_ID} - set(names)):
        if name in _SEEN_BEFORE:
            hint = ": it is Pinpoint's; put what you need of it among the record's attributes"
        else:
            near = _nearest(name, names)
            hint = f"; did you mean `{near}`?" if near else ""
        yield f"{place}: nobody has the attribute `{name}`{hint}"


def _nearest(name: str, names: Collection[str]) -> str:
    by_bare = {known.replace("_", "").replace(" ", "").lower(): known for known in names}
    near = get_close_matches(name.replace("_", "").lower(), by_bare, 1, 0.75)
    return by_bare[near[0]] if near else ""
