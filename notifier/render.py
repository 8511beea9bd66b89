"""What a message says to one recipient: his language, his attributes.

A record's validity must not depend on its arm, or the arms would hold different people. So `check` judges a recipient
by the messages of all arms, before the arm is known; `words` then gives those of the one he is in.
"""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import UNSET, Struct

from notifier.campaign import DEFAULT_ARM, BrokenCampaign, Campaign, Fault, Message, Text
from notifier.placeholder import BadTemplate, Template, as_text, compiled, has_placeholder, missing
from notifier.recipient import BrokenRecord, Recipient
from notifier.shape import is_encodable

USER_ID = "user_id"
"""Always there for a placeholder; an attribute of that name wins."""

_TEXT_FIELDS = Text.__struct_fields__
_VERBATIM_FIELDS = ("collapse_id", "sound")
_MAX_LOCALES = 2_000
"""Distinct `locale` values remembered; beyond that they are worked out anew."""


class Wording(Struct, frozen=True):
    """The message of one arm in one language.

    `slots` are the fields whose text differs from recipient to recipient (`title`, `data.screen`); in `message` they
    still hold their placeholders. `locale` is the translation used, in lower case, or "" for the message's own texts.
    """

    arm: str
    locale: str
    message: Message
    slots: tuple[str, ...] = ()


class Words(Struct, frozen=True, gc=False):
    """What one push says: its wording's key (arm and locale) and, in the order of its slots, the texts."""

    key: tuple[str, str]
    texts: tuple[str, ...] = ()


class _Arm:
    """One wording with its templates compiled."""

    def __init__(self, wording: Wording, templates: tuple[Template, ...]) -> None:
        self.wording = wording
        self.key = (wording.arm, wording.locale)
        self.static = Words(self.key) if not templates else None
        self.required = frozenset[str]().union(*(template.required for template in templates))
        self.names = frozenset[str]().union(*(template.names or () for template in templates))
        self.open = tuple(template for template in templates if template.names is None)
        self._templates = templates

    def words(self, recipient: Recipient) -> Words:
        if self.static is not None:
            return self.static
        values = _values(recipient)
        return Words(self.key, tuple([template.render(values) for template in self._templates]))


class _Row(Struct, frozen=True):
    """What one locale means for every arm."""

    arms: Mapping[str, _Arm]
    required: frozenset[str]
    names: frozenset[str]
    open: tuple[Template, ...]


class Renderer:
    """The texts of one campaign.

    Raises:
        BrokenCampaign: with `template_faults`, when a text cannot be compiled.
    """

    def __init__(self, campaign: Campaign) -> None:
        if faults := template_faults(campaign):
            raise BrokenCampaign(faults)
        names = [variant.name for variant in campaign.variants] or [DEFAULT_ARM]
        self._messages = {name: campaign.message_of(name) for name in names}
        self._translations = {name: _by_tag(message) for name, message in self._messages.items()}
        self._made: dict[tuple[str, str], _Arm] = {}
        self._templates: dict[str, Template] = {}
        self._rows: dict[str | None, _Row] = {}
        self.is_static = not any(has_placeholder(text) for _, text in _sources(campaign))

    def check(self, recipient: Recipient) -> None:
        """Whether every arm's message could be said to him; nothing to check where `is_static`.

        Raises:
            BrokenRecord: naming the attribute that some arm misses.
        """
        row = self._rows.get(recipient.locale) or self._row(recipient.locale)
        attributes = recipient.attributes
        for name in row.required:
            if attributes.get(name) is None and name != USER_ID:
                raise missing(name)
        for name in row.names:
            value = attributes.get(name)
            if type(value) is str and value.isascii():
                continue
            if value is not None and not is_encodable(as_text(value)):
                raise BrokenRecord(f"attribute `{name}` is not encodable as UTF-8")
        if row.open:
            values = _values(recipient)
            for template in row.open:
                template.render(values)

    def words(self, arm: str, recipient: Recipient) -> Words:
        """What the arm's message says to a recipient whom `check` let pass. One and the same object where it is static.

        Raises:
            KeyError: for the control group, which is told nothing.
        """
        return (self._rows.get(recipient.locale) or self._row(recipient.locale)).arms[arm].words(recipient)

    def wording(self, key: tuple[str, str]) -> Wording:
        """The message behind the key of some words, to be prepared once for each gateway."""
        arm, locale = key
        return self._arm(arm, locale).wording

    def _row(self, locale: str | None) -> _Row:
        arms = {name: self._arm(name, locale) for name in self._messages}
        row = _Row(
            arms=arms,
            required=frozenset[str]().union(*(arm.required for arm in arms.values())),
            names=frozenset[str]().union(*(arm.names for arm in arms.values())),
            open=tuple(template for arm in arms.values() for template in arm.open),
        )
        if len(self._rows) >= _MAX_LOCALES:
            self._rows.clear()
        self._rows[locale] = row
        return row

    def _arm(self, name: str, locale: str | None) -> _Arm:
        translations = self._translations[name]
        chain = [tag for tag in _tags(locale) if tag in translations]
        key = chain[0] if chain else ""
        if (name, key) not in self._made:
            message = self._messages[name]
            for tag in reversed(chain):
                message = _translated(message, translations[tag])
            sources = [(slot, text) for slot, text in _fields(message) if has_placeholder(text)]
            wording = Wording(name, key, message, tuple(slot for slot, _ in sources))
            self._made[name, key] = _Arm(wording, tuple(self._template(text) for _, text in sources))
        return self._made[name, key]

    def _template(self, source: str) -> Template:
        if source not in self._templates:
            self._templates[source] = compiled(source)
        return self._templates[source]


def template_faults(campaign: Campaign) -> tuple[Fault, ...]:
    """Every text that cannot be filled in, by field, line and column; and translations that are there twice."""
    return tuple(_faults(campaign))


def _faults(campaign: Campaign) -> Iterator[Fault]:
    for place, source in _sources(campaign):
        try:
            compiled(source)
        except BadTemplate as error:
            yield Fault(place, f"not a text we can fill in: {error}", error.mend)
    for place, message in _messages(campaign):
        for field in _VERBATIM_FIELDS:
            if has_placeholder(getattr(message, field) or ""):
                yield Fault(f"{place}.{field}", "a placeholder here would be sent as it stands")
        seen: set[str] = set()
        for locale in message.translations or {}:
            tag = next(_tags(locale), "")
            if tag in seen:
                yield Fault(f"{place}.translations.{locale}", "this language is given twice")
            seen.add(tag)


def _messages(campaign: Campaign) -> Iterator[tuple[str, Message]]:
    yield "campaign.message", campaign.message
    for n, variant in enumerate(campaign.variants):
        yield f"campaign.variants[{n}].message", variant.message


def _sources(campaign: Campaign) -> Iterator[tuple[str, str]]:
    """Every text of the campaign by its place, once, where it is written."""
    for place, message in _messages(campaign):
        for field, text in _fields(message):
            yield f"{place}.{field}", text
        for locale, translation in (message.translations or {}).items():
            for field in _TEXT_FIELDS:
                if text := getattr(translation, field):
                    yield f"{place}.translations.{locale}.{field}", text


def _fields(message: Message) -> Iterator[tuple[str, str]]:
    """The fields of a message that may hold placeholders, by name."""
    for field in _TEXT_FIELDS:
        if text := getattr(message, field):
            yield field, text
    for key, text in (message.data or {}).items():
        yield f"data.{key}", text


def _values(recipient: Recipient) -> Mapping[str, object]:
    if recipient.attributes.get(USER_ID) is not None:
        return recipient.attributes
    return {**recipient.attributes, USER_ID: recipient.user_id}


def _tags(locale: str | None) -> Iterator[str]:
    """A locale from the narrowest to the widest: `de_AT` gives `de-at`, `de`."""
    tag = (locale or "").partition(".")[0].replace("_", "-").lower()
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


def _by_tag(message: Message) -> dict[str, Text]:
    return {next(_tags(locale), ""): text for locale, text in (message.translations or {}).items()}


def _translated(message: Message, text: Text) -> Message:
    given = {field: value for field in _TEXT_FIELDS if (value := getattr(text, field)) is not UNSET}
    return msgspec.structs.replace(message, **given)
