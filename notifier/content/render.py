"""What a message says to one recipient: his language, his attributes.

A record's validity must not depend on its arm, or the arms would hold different people. So `check` judges a recipient
by the messages of all arms, before the arm is known; `words` then gives those of the one he is in.
"""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import UNSET, Struct

from notifier.content.languages import chain_of, tags
from notifier.content.template import BadTemplate, Template, as_text, compiled, has_placeholder, missing
from notifier.model.campaign import DEFAULT_ARM, BrokenCampaign, Campaign, Fault, Message, Text
from notifier.model.characters import cleaned, is_blank
from notifier.model.recipient import BrokenRecord, Recipient
from notifier.model.validation import is_encodable

USER_ID = "user_id"
"""Always there for a placeholder; an attribute of that name wins."""

_TEXT_FIELDS = Text.__struct_fields__
_SHOWN_FIELDS = ("title", "body")
_VERBATIM_FIELDS = ("collapse_id", "sound")
EMPTY = "text is empty"
"""The reason of a record for which title and body show nothing once they are filled in."""
_MAX_LOCALES = 2_000
"""Distinct `locale` values remembered; beyond that they are worked out anew."""


class Wording(Struct, frozen=True):
    """The message of one arm in one language.

    `slots` are the fields whose text differs from recipient to recipient (`title`, `data.screen`); in `message` they
    still hold their placeholders. `locale` names the translations used, in lower case, or is "" for the message's own
    texts: the best one, or with a comma all of them in their order where they are not simply `de-at` and then `de`.
    """

    arm: str
    locale: str
    message: Message
    slots: tuple[str, ...] = ()


class RenderedTexts(Struct, frozen=True, gc=False):
    """What one push says: its wording's key (arm and locale) and, in the order of its slots, the texts."""

    key: tuple[str, str]
    texts: tuple[str, ...] = ()


class _Arm:
    """One wording with its templates compiled."""

    def __init__(self, wording: Wording, templates: tuple[Template, ...], shown: tuple[Template, ...] | None) -> None:
        self.wording = wording
        self.shown = shown
        """Title and body where both may turn out empty; None where there always is something to see."""
        self.key = (wording.arm, wording.locale)
        self.static = RenderedTexts(self.key) if not templates else None
        self.required = frozenset[str]().union(*(template.required for template in templates))
        self.names = frozenset[str]().union(*(template.names or () for template in templates))
        self.open = tuple(template for template in templates if template.names is None)
        self._templates = templates

    def render(self, recipient: Recipient, tried: Mapping[Template, str]) -> RenderedTexts:
        values = values_of(recipient)
        texts = [
            text if (text := tried.get(template)) is not None else cleaned(template.render(values))
            for template in self._templates
        ]
        return RenderedTexts(self.key, tuple(texts))


class _Row(Struct, frozen=True):
    """What one locale means for every arm."""

    arms: Mapping[str, _Arm]
    required: frozenset[str]
    names: frozenset[str]
    late: "_Late | None"


class _Late(Struct, frozen=True):
    """What only filling in can tell of one locale: texts to be tried, and groups of title and body to be seen in.

    With each group the attributes that its texts print whatever else is there: a word in one of them is enough.
    """

    open: tuple[Template, ...]
    shown: tuple[tuple[frozenset[str], tuple[Template, ...]], ...]


class Renderer:
    """The texts of one campaign.

    Raises:
        BrokenCampaign: with `template_faults`, when a text cannot be compiled.
    """

    def __init__(self, campaign: Campaign) -> None:
        if faults := template_faults(campaign):
            raise BrokenCampaign(faults)
        self._messages = {name: campaign.message_of(name) for name in _arms_of(campaign)}
        self._translations = {name: _by_tag(message) for name, message in self._messages.items()}
        self._made: dict[tuple[str, str], _Arm] = {}
        self._templates: dict[str, Template] = {}
        self._rows: dict[str | None, _Row] = {}
        self._tried: tuple[Recipient | None, Mapping[Template, str]] = (None, {})
        """Whom `check` was last asked about and what it had to fill in: `words` is asked about the same next."""
        self.is_static = not any(has_placeholder(text) for _, text in sources_of(campaign))

    def check(self, recipient: Recipient) -> None:
        """Whether every arm's message could be said to him; nothing to check where `is_static`.

        Raises:
            BrokenRecord: naming the attribute that some arm misses; or `EMPTY`, when some arm would show nothing.
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
        if row.late is not None:
            self._tried = recipient, _tried(row.late, recipient)

    def render(self, arm: str, recipient: Recipient) -> RenderedTexts:
        """What the arm's message says to a recipient whom `check` let pass. One and the same object where it is static.

        Raises:
            KeyError: for the control group, which is told nothing.
        """
        arm_ = (self._rows.get(recipient.locale) or self._row(recipient.locale)).arms[arm]
        if arm_.static is not None:
            return arm_.static
        whose, tried = self._tried
        return arm_.render(recipient, tried if whose is recipient else {})

    def wording(self, key: tuple[str, str]) -> Wording:
        """The message behind the key of some words, to be prepared once for each gateway."""
        return self._arm(*key).wording

    def wording_for(self, arm: str, recipient: Recipient) -> Wording:
        """The message that a recipient reads, also one that cannot be filled in."""
        return self._row(recipient.locale).arms[arm].wording

    def _row(self, locale: str | None) -> _Row:
        translations = self._translations.items()
        arms = {name: self._arm(name, _key_of(chain_of(locale, known), known)) for name, known in translations}
        opened = tuple(template for arm in arms.values() for template in arm.open)
        groups = tuple({arm.shown: None for arm in arms.values() if arm.shown is not None})
        shown = tuple((frozenset[str]().union(*(one.names or () for one in group)), group) for group in groups)
        row = _Row(
            arms=arms,
            required=frozenset[str]().union(*(arm.required for arm in arms.values())),
            names=frozenset[str]().union(*(arm.names for arm in arms.values())),
            late=_Late(opened, shown) if opened or shown else None,
        )
        if len(self._rows) >= _MAX_LOCALES:
            self._rows.clear()
        self._rows[locale] = row
        return row

    def _arm(self, name: str, key: str) -> _Arm:
        if (name, key) not in self._made:
            message = _in_language(self._messages[name], self._translations[name], key)
            sources = [(slot, text) for slot, text in _fields(message) if has_placeholder(text)]
            wording = Wording(name, key, message, tuple(slot for slot, _ in sources))
            templates = tuple(self._template(text) for _, text in sources)
            self._made[name, key] = _Arm(wording, templates, self._shown(message))
        return self._made[name, key]

    def _shown(self, message: Message) -> tuple[Template, ...] | None:
        """Title and body, unless it is sure that one of them shows something, or that nothing is to be shown."""
        shown = tuple(self._template(text) for field in _SHOWN_FIELDS if (text := getattr(message, field)))
        if message.background is True or any(template.is_seen for template in shown):
            return None
        return shown

    def _template(self, source: str) -> Template:
        if source not in self._templates:
            self._templates[source] = compiled(source)
        return self._templates[source]


def _tried(late: _Late, recipient: Recipient) -> Mapping[Template, str]:
    """Fill in what has to be seen. Raises BrokenRecord."""
    values = None
    texts: dict[Template, str] = {}
    for template in late.open:
        values = values or values_of(recipient)
        texts[template] = cleaned(template.render(values))
    for names, group in late.shown:
        if any(map(_is_word, map(recipient.attributes.get, names))):
            continue
        values = values or values_of(recipient)
        for template in group:
            if template not in texts:
                texts[template] = cleaned(template.render(values))
            if not is_blank(texts[template]):
                break
        else:
            raise BrokenRecord(EMPTY)
    return texts


def _is_word(value: object) -> bool:
    """Whether a value is sure to be seen where it is printed."""
    return type(value) is str and value.isascii() and value.isalnum()


def template_faults(campaign: Campaign) -> tuple[Fault, ...]:
    """Every text that cannot be filled in, by field, line and column; and translations that are there twice."""
    return tuple(_faults(campaign))


def _faults(campaign: Campaign) -> Iterator[Fault]:
    for place, source in sources_of(campaign):
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
            tag = next(tags(locale), "")
            if tag in seen:
                yield Fault(f"{place}.translations.{locale}", "this language is given twice")
            seen.add(tag)
    yield from _empty_faults(campaign)


def _empty_faults(campaign: Campaign) -> Iterator[Fault]:
    """Translations that leave nothing to be seen. A message's own texts are judged with its fields."""
    told: set[str] = set()
    for arm in _arms_of(campaign):
        message = campaign.message_of(arm)
        known = _by_tag(message)
        for locale in message.translations or {}:
            said = _in_language(message, known, _key_of(chain_of(locale, known), known))
            place = f"{_place_of_translations(campaign, arm)}.{locale}"
            if said.background is not True and not any(_may_show(said, field) for field in _SHOWN_FIELDS):
                if place not in told:
                    yield Fault(place, "title and body are empty in this language", "give it a title or a text")
                told.add(place)


def _may_show(message: Message, field: str) -> bool:
    text = getattr(message, field) or ""
    return has_placeholder(text) or not is_blank(text)


def _place_of_translations(campaign: Campaign, arm: str) -> str:
    for n, variant in enumerate(campaign.variants):
        if variant.name == arm and variant.message.translations is not UNSET:
            return f"campaign.variants[{n}].message.translations"
    return "campaign.message.translations"


def _arms_of(campaign: Campaign) -> list[str]:
    return [variant.name for variant in campaign.variants] or [DEFAULT_ARM]


def _messages(campaign: Campaign) -> Iterator[tuple[str, Message]]:
    yield "campaign.message", campaign.message
    for n, variant in enumerate(campaign.variants):
        yield f"campaign.variants[{n}].message", variant.message


def sources_of(campaign: Campaign) -> Iterator[tuple[str, str]]:
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


def values_of(recipient: Recipient) -> Mapping[str, object]:
    """What placeholders are filled with: the attributes, and the user's id under its own name."""
    if recipient.attributes.get(USER_ID) is not None:
        return recipient.attributes
    return {**recipient.attributes, USER_ID: recipient.user_id}


def _by_tag(message: Message) -> dict[str, Text]:
    return {next(tags(locale), ""): text for locale, text in (message.translations or {}).items()}


def _key_of(chain: tuple[str, ...], known: Mapping[str, Text]) -> str:
    """The translations that are used, as one word: the best one's tag where its own beginnings are all the others.

    Deferred devices are stored with this word: a single tag means today what it meant in every release.
    """
    if not chain or chain == _by_beginning(chain[0], known):
        return chain[0] if chain else ""
    return ",".join(chain) + ("," if len(chain) == 1 else "")


def _by_beginning(tag: str, known: Mapping[str, Text]) -> tuple[str, ...]:
    return tuple(wider for wider in tags(tag) if wider in known)


def _in_language(message: Message, known: Mapping[str, Text], key: str) -> Message:
    """The message with the texts of the translations that `key` names, the first of them on top."""
    chain = tuple(filter(None, key.split(","))) if "," in key else _by_beginning(key, known)
    for tag in reversed(chain):
        given = {field: value for field in _TEXT_FIELDS if (value := getattr(known[tag], field)) is not UNSET}
        message = msgspec.structs.replace(message, **given)
    return message
