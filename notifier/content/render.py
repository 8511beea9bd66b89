"""Renders a campaign's message for each recipient, in the user's language and with the user's attributes.

Whether a record is valid must not depend on its arm: otherwise the arms would have different kinds of users. So
`Renderer.check` checks a recipient against the messages of all arms, before the arm is known. `Renderer.render` then
fills in the message of one arm.
"""

from collections.abc import Mapping

from msgspec import Struct

from notifier.content.compile import Template, compiled
from notifier.content.languages import chain_of
from notifier.content.template import as_text, has_placeholder, missing
from notifier.content.template_faults import template_faults
from notifier.content.texts import SHOWN_FIELDS, arms_of, by_tag, fields_of, in_language, key_of, sources_of
from notifier.model.campaign import Campaign, Message
from notifier.model.campaign_reading import BrokenCampaign
from notifier.model.characters import cleaned, is_blank
from notifier.model.recipient import Recipient
from notifier.model.spelling import BrokenRecord
from notifier.model.validation import is_encodable

USER_ID = "user_id"
"""A placeholder of this name is the user's id, unless the record has an attribute of that name."""

EMPTY = "text is empty"
"""The reason of a record for which title and body would both show nothing."""
_MAX_LOCALES = 2_000
"""Distinct `locale` values that are remembered. Beyond that all are forgotten: a file may have any number of them."""


class Wording(Struct, frozen=True):
    """The message of one arm in one language, before it is filled in.

    `slots` are the fields whose text differs between recipients (`title`, `data.screen`); in `message` they have their
    placeholders. `locale` is the key of the translations that were merged (`texts.key_of`), "" for none.
    """

    arm: str
    locale: str
    message: Message
    slots: tuple[str, ...] = ()


class RenderedTexts(Struct, frozen=True, gc=False):
    """The texts of one push: the key of its wording (arm and locale), and a text for each of the wording's slots."""

    key: tuple[str, str]
    texts: tuple[str, ...] = ()


class _CompiledWording:
    """One wording with its templates."""

    def __init__(
        self, wording: Wording, templates: tuple[Template, ...], maybe_empty: tuple[Template, ...] | None
    ) -> None:
        self.wording = wording
        self.maybe_empty = maybe_empty
        """Title and body, if both may turn out empty; None if a reader always sees something, or never has to."""
        self.key = (wording.arm, wording.locale)
        self.static = RenderedTexts(self.key) if not templates else None
        """The same object for every recipient, if nothing has to be filled in."""
        # For `check`, which looks at attributes before it renders anything.
        self.required = frozenset[str]().union(*(template.required for template in templates))
        self.names = frozenset[str]().union(*(template.names or () for template in templates))
        self.liquid = tuple(template for template in templates if template.names is None)
        self._templates = templates

    def render(self, recipient: Recipient, rendered: Mapping[Template, str]) -> RenderedTexts:
        """The texts for one recipient; those that `check` has rendered already are not rendered again."""
        values = values_of(recipient)
        texts = [
            text if (text := rendered.get(template)) is not None else cleaned(template.render(values))
            for template in self._templates
        ]
        return RenderedTexts(self.key, tuple(texts))


class _ForLocale(Struct, frozen=True):
    """What recipients of one locale are checked against: the wordings of all arms, and what these need together."""

    arms: Mapping[str, _CompiledWording]
    required: frozenset[str]
    names: frozenset[str]
    trial: "_Trial | None"


class _Trial(Struct, frozen=True):
    """The texts of one locale that have to be rendered to know whether a recipient can get them.

    Args:
        liquid: texts that only Liquid can judge.
        maybe_empty: for each group of title and body the attributes that are always printed in it. If one of them is a
            plain word, the group need not be rendered.
    """

    liquid: tuple[Template, ...]
    maybe_empty: tuple[tuple[frozenset[str], tuple[Template, ...]], ...]


class Renderer:
    """The texts of one campaign, compiled once.

    Raises:
        BrokenCampaign: a text cannot be compiled; it has the faults of `template_faults`.
    """

    def __init__(self, campaign: Campaign) -> None:
        if faults := template_faults(campaign):
            raise BrokenCampaign(faults)
        self._messages = {name: campaign.message_of(name) for name in arms_of(campaign)}
        self._translations = {name: by_tag(message) for name, message in self._messages.items()}
        self._wordings: dict[tuple[str, str], _CompiledWording] = {}
        self._templates: dict[str, Template] = {}
        self._by_locale: dict[str | None, _ForLocale] = {}
        self._last_check: tuple[Recipient | None, Mapping[Template, str]] = (None, {})
        """The last recipient of `check` and what it rendered: the next call of `render` is for the same one."""
        self.is_static = not any(has_placeholder(text) for _, text in sources_of(campaign))

    def check(self, recipient: Recipient) -> None:
        """Check that the message of every arm can be filled in. Not needed if `is_static`.

        Raises:
            BrokenRecord: an attribute is missing, or does not fit; or `EMPTY`: one of the arms would show nothing.
        """
        # One dictionary look-up for each user: matching languages costs far more.
        wanted = self._by_locale.get(recipient.locale) or self._for_locale(recipient.locale)
        attributes = recipient.attributes
        for name in wanted.required:
            # Null counts as missing, as in Liquid: exports write it for an empty column.
            if attributes.get(name) is None and name != USER_ID:
                raise missing(name)
        for name in wanted.names:
            value = attributes.get(name)
            # The usual value is ASCII, and needs no encoding to know that it can be encoded.
            if type(value) is str and value.isascii():
                continue
            if value is not None and not is_encodable(as_text(value)):
                raise BrokenRecord(f"attribute `{name}` is not encodable as UTF-8")
        if wanted.trial is not None:
            self._last_check = recipient, _rendered(wanted.trial, recipient)

    def render(self, arm: str, recipient: Recipient) -> RenderedTexts:
        """The texts of one arm for a recipient that has passed `check`; always the same object if they are static.

        Raises:
            KeyError: `arm` is the control group, which gets no push.
        """
        compiled_wording = (self._by_locale.get(recipient.locale) or self._for_locale(recipient.locale)).arms[arm]
        if compiled_wording.static is not None:
            return compiled_wording.static
        checked, rendered = self._last_check
        return compiled_wording.render(recipient, rendered if checked is recipient else {})

    def wording(self, key: tuple[str, str]) -> Wording:
        """The wording of rendered texts, by their key. Each gateway prepares it once."""
        return self._compiled_wording(*key).wording

    def wording_for(self, arm: str, recipient: Recipient) -> Wording:
        """The wording for a recipient, even if it cannot be filled in for this one."""
        return self._for_locale(recipient.locale).arms[arm].wording

    def _for_locale(self, locale: str | None) -> _ForLocale:
        translations = self._translations.items()
        arms = {
            name: self._compiled_wording(name, key_of(chain_of(locale, known), known)) for name, known in translations
        }
        liquid = tuple(template for arm in arms.values() for template in arm.liquid)
        # As keys of a dict: arms may have the same title and body.
        groups = tuple({arm.maybe_empty: None for arm in arms.values() if arm.maybe_empty is not None})
        maybe_empty = tuple((frozenset[str]().union(*(one.names or () for one in group)), group) for group in groups)
        made = _ForLocale(
            arms=arms,
            required=frozenset[str]().union(*(arm.required for arm in arms.values())),
            names=frozenset[str]().union(*(arm.names for arm in arms.values())),
            trial=_Trial(liquid, maybe_empty) if liquid or maybe_empty else None,
        )
        # All at once, not the oldest: a file with so many is odd, and the few real locales are back within a batch.
        if len(self._by_locale) >= _MAX_LOCALES:
            self._by_locale.clear()
        self._by_locale[locale] = made
        return made

    def _compiled_wording(self, arm: str, key: str) -> _CompiledWording:
        if (arm, key) not in self._wordings:
            message = in_language(self._messages[arm], self._translations[arm], key)
            sources = [(slot, text) for slot, text in fields_of(message) if has_placeholder(text)]
            wording = Wording(arm, key, message, tuple(slot for slot, _ in sources))
            templates = tuple(self._template(text) for _, text in sources)
            self._wordings[arm, key] = _CompiledWording(wording, templates, self._maybe_empty(message))
        return self._wordings[arm, key]

    def _maybe_empty(self, message: Message) -> tuple[Template, ...] | None:
        """Title and body; None if one of them certainly shows something, or if the push need not show anything."""
        visible = tuple(self._template(text) for field in SHOWN_FIELDS if (text := getattr(message, field)))
        if message.background is True or any(template.always_visible for template in visible):
            return None
        return visible

    def _template(self, source: str) -> Template:
        if source not in self._templates:
            self._templates[source] = compiled(source)
        return self._templates[source]


def _rendered(trial: _Trial, recipient: Recipient) -> Mapping[Template, str]:
    """Render what has to be rendered for the check. Raises BrokenRecord."""
    values = None
    texts: dict[Template, str] = {}
    for template in trial.liquid:
        values = values or values_of(recipient)
        texts[template] = cleaned(template.render(values))
    for names, group in trial.maybe_empty:
        # The usual case, without rendering: an attribute that is printed has a visible value.
        if any(map(_is_visible, map(recipient.attributes.get, names))):
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


def _is_visible(value: object) -> bool:
    """Whether a value is certainly visible when it is printed."""
    return type(value) is str and value.isascii() and value.isalnum()


def values_of(recipient: Recipient) -> Mapping[str, object]:
    """The values of placeholders: the recipient's attributes, and the user's id as `USER_ID`."""
    if recipient.attributes.get(USER_ID) is not None:
        return recipient.attributes
    return {**recipient.attributes, USER_ID: recipient.user_id}
