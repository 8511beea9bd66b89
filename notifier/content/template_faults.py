"""Finds what is wrong with a campaign's texts before there is an audience: every fault by field, line and column."""

from collections.abc import Iterator

from msgspec import UNSET

from notifier.content.compile import compiled
from notifier.content.languages import chain_of, tags
from notifier.content.template import BadTemplate, has_placeholder
from notifier.content.texts import SHOWN_FIELDS, arms_of, by_tag, in_language, key_of, messages_of, sources_of
from notifier.model.campaign import Campaign, Message
from notifier.model.characters import is_blank
from notifier.model.validation import Fault

_VERBATIM_FIELDS = ("collapse_id", "sound")
"""Fields that are never filled in."""


def template_faults(campaign: Campaign) -> tuple[Fault, ...]:
    """Texts that cannot be compiled, languages that are given twice, and translations that show nothing."""
    return tuple(_faults(campaign))


def _faults(campaign: Campaign) -> Iterator[Fault]:
    for path, source in sources_of(campaign):
        try:
            compiled(source)
        except BadTemplate as error:
            yield Fault(path, f"not a text we can fill in: {error}", error.mend)
    for path, message in messages_of(campaign):
        for field in _VERBATIM_FIELDS:
            if has_placeholder(getattr(message, field) or ""):
                yield Fault(f"{path}.{field}", "a placeholder here would be sent as it is")
        seen: set[str] = set()
        for locale in message.translations or {}:
            tag = next(tags(locale), "")
            if tag in seen:
                yield Fault(f"{path}.translations.{locale}", "this language is given twice")
            seen.add(tag)
    yield from _empty_faults(campaign)


def _empty_faults(campaign: Campaign) -> Iterator[Fault]:
    """Translations with which a user would see nothing. `read_campaign` checks the message's own texts."""
    # Several arms may have the campaign's translations: one fault is enough.
    reported: set[str] = set()
    for arm in arms_of(campaign):
        message = campaign.message_of(arm)
        known = by_tag(message)
        for locale in message.translations or {}:
            translated = in_language(message, known, key_of(chain_of(locale, known), known))
            path = f"{_path_of_translations(campaign, arm)}.{locale}"
            if translated.background is not True and not any(_may_show(translated, field) for field in SHOWN_FIELDS):
                if path not in reported:
                    yield Fault(path, "title and body are empty in this language", "give it a title or a text")
                reported.add(path)


def _may_show(message: Message, field: str) -> bool:
    text = getattr(message, field) or ""
    return has_placeholder(text) or not is_blank(text)


def _path_of_translations(campaign: Campaign, arm: str) -> str:
    for n, variant in enumerate(campaign.variants):
        if variant.name == arm and variant.message.translations is not UNSET:
            return f"campaign.variants[{n}].message.translations"
    return "campaign.message.translations"
