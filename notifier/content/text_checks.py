"""Checks a campaign's texts against an audience: attributes that no record has, and texts that look like placeholders.

`faults_in` stops a run before anything is sent: the worker checks the first records, and so does `notifier validate`.
Everything else here is a warning.
"""

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches

from notifier.content.compile import compiled
from notifier.content.lookalikes import lookalikes, never_meant
from notifier.content.render import USER_ID, Renderer, values_of
from notifier.content.template import UnfitValue, has_placeholder
from notifier.content.texts import sources_of
from notifier.model.campaign import Campaign
from notifier.model.plurals import counted
from notifier.model.recipient import Recipient
from notifier.model.record_reading import read_recipient
from notifier.model.spelling import BrokenRecord
from notifier.model.validation import Fault

_SIMILARITY = 0.75
"""Of two names, for difflib: `frist_name` is near `first_name`, `last_name` is not."""
MAX_UNFIT_SHARE = 0.2
"""If more records have a value that a text cannot use, the text or the export is wrong, and not the records."""
_PINPOINT_MEMBERS = frozenset(
    {"Address", "Attributes", "ChannelType", "Demographic", "Endpoint", "Id", "Location", "Metrics", "User"}
)
"""Members of an endpoint in Amazon Pinpoint. A record here has only attributes."""


def faults_in(campaign: Campaign, records: Sequence[object], *, with_values: bool = False) -> Iterator[Fault]:
    """Faults of the texts that the first records of the audience reveal.

    Args:
        with_values: quote a value that does not fit. Only on an operator's screen, never in what is stored.
    """
    sources = [(path, source) for path, source in sources_of(campaign) if has_placeholder(source)]
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
            continue  # a missing attribute is the record's fault, not the text's
    if len(unfit) > MAX_UNFIT_SHARE * len(recipients):
        share = f"for {len(unfit):,} of {counted(len(recipients), 'record')}"
        yield from _unfit_faults(sources, unfit[0], share, with_values=with_values)


def _recipients(records: Sequence[object]) -> Iterator[Recipient]:
    for record in records:
        try:
            if not isinstance(record, BrokenRecord):
                yield read_recipient(record)
        except BrokenRecord:
            continue


def names_in(recipients: Sequence[Recipient]) -> frozenset[str]:
    """The attributes that at least one recipient has."""
    return frozenset(
        name for recipient in recipients for name, value in recipient.attributes.items() if value is not None
    )


def names_of(records: Sequence[object]) -> frozenset[str]:
    """The attributes that at least one valid record has, whether or not its texts can be filled in."""
    return names_in(list(_recipients(records)))


def unquoted_faults(campaign: Campaign, names: Collection[str]) -> Iterator[Fault]:
    """A fault for each bare word that should be in quotes: it is written like an attribute that no record has."""
    for path, source in sources_of(campaign):
        for name in sorted(unquoted_in(source, names)):
            yield Fault(path, f"`{name}` is no attribute of anybody", f"did you mean '{name}', in quotes?")


def unquoted_in(source: str, names: Collection[str]) -> frozenset[str]:
    """The bare words of one text where a text in quotes may be meant, without those that are known attributes.

    Args:
        names: the attributes that at least one record has.
    """
    return frozenset(compiled(source).unquoted - {USER_ID} - set(names)) if has_placeholder(source) else frozenset()


def _unfit_faults(
    sources: list[tuple[str, str]], recipient: Recipient, share: str, *, with_values: bool
) -> Iterator[Fault]:
    """A fault for each text that this recipient's values do not fit."""
    for path, source in sources:
        try:
            compiled(source).render(values_of(recipient))
        except UnfitValue as error:
            yield Fault(path, f"cannot be filled in {share}: {error.with_value if with_values else error}")
        except BrokenRecord:
            continue


def warnings_of(campaign: Campaign, names: Collection[str]) -> Iterator[str]:
    """Warnings about what would be sent and is probably a mistake.

    Args:
        names: the attributes that at least one record of the audience has.
    """
    for path, source in sources_of(campaign):
        for warning in sent_as_it_is(source, names):
            yield f"{path}: {warning}"
        if has_placeholder(source):
            yield from _unknown_names(path, source, names)


def sent_as_it_is(source: str, names: Collection[str]) -> Iterator[str]:
    """A warning for each part of a text that looks like a placeholder or a comment, and would be sent as it is."""
    seen = set[str]()
    for written, name in lookalikes(source, names):
        seen.add(written)
        yield f"{written} is sent as it is; for the attribute of this name write {{{{ {name} }}}}"
    for written in dict.fromkeys(never_meant(source)):
        if written not in seen:
            yield f"{written} is sent as it is; a placeholder here is {{{{ the_attributes_name }}}}"
    if "{#" in source and "#}" in source:
        yield "{# … #} is no comment here and is sent: write {% comment %}…{% endcomment %}"


def _unknown_names(path: str, source: str, names: Collection[str]) -> Iterator[str]:
    template = compiled(source)
    # Words that may lack their quotes are faults already, in `unquoted_faults`.
    for name in sorted(template.roots - template.unquoted - {USER_ID} - set(names)):
        if name in _PINPOINT_MEMBERS:
            hint = ": it is Pinpoint's; put what you need of it among the record's attributes"
        else:
            near = _nearest(name, names)
            hint = f"; did you mean `{near}`?" if near else ""
        yield f"{path}: nobody has the attribute `{name}`{hint}"


def _nearest(name: str, names: Collection[str]) -> str:
    # `firstName`, `first_name` and `First Name` are the same name to their author.
    by_bare = {known.replace("_", "").replace(" ", "").lower(): known for known in names}
    near = get_close_matches(name.replace("_", "").lower(), by_bare, 1, _SIMILARITY)
    return by_bare[near[0]] if near else ""
