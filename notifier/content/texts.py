"""The texts of a campaign: where they are in the file, and which translations are merged for one language."""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import UNSET

from notifier.content.languages import tags
from notifier.model.campaign import DEFAULT_ARM, Campaign, Message, Text

TEXT_FIELDS = Text.__struct_fields__
SHOWN_FIELDS = ("title", "body")


def arms_of(campaign: Campaign) -> list[str]:
    """The names of the arms that get a message: all but the control group."""
    return [variant.name for variant in campaign.variants] or [DEFAULT_ARM]


def messages_of(campaign: Campaign) -> Iterator[tuple[str, Message]]:
    """The campaign's message and those of its variants, each with its path in the file."""
    yield "campaign.message", campaign.message
    for n, variant in enumerate(campaign.variants):
        yield f"campaign.variants[{n}].message", variant.message


def sources_of(campaign: Campaign) -> Iterator[tuple[str, str]]:
    """Every text of the campaign, once, with its path in the file."""
    for path, message in messages_of(campaign):
        for field, text in fields_of(message):
            yield f"{path}.{field}", text
        for locale, translation in (message.translations or {}).items():
            for field in TEXT_FIELDS:
                if text := getattr(translation, field):
                    yield f"{path}.translations.{locale}.{field}", text


def fields_of(message: Message) -> Iterator[tuple[str, str]]:
    """The fields of a message that may have placeholders: name and text."""
    for field in TEXT_FIELDS:
        if text := getattr(message, field):
            yield field, text
    for key, text in (message.data or {}).items():
        yield f"data.{key}", text


def by_tag(message: Message) -> dict[str, Text]:
    """A message's translations by their tags in lower case."""
    return {next(tags(locale), ""): text for locale, text in (message.translations or {}).items()}


def key_of(chain: tuple[str, ...], known: Mapping[str, Text]) -> str:
    """A chain of translations as one text: "" for none, the best one's tag, or the tags with commas.

    The best one's tag is enough if the others are exactly its own beginnings (`de-at`, then `de`). This text is stored
    with deferred devices, and a tag without a comma must mean what it meant in earlier releases.
    """
    if not chain or chain == _by_beginning(chain[0], known):
        return chain[0] if chain else ""
    # A comma after a single tag: this translation alone, without those of its beginnings.
    return ",".join(chain) + ("," if len(chain) == 1 else "")


def _by_beginning(tag: str, known: Mapping[str, Text]) -> tuple[str, ...]:
    return tuple(wider for wider in tags(tag) if wider in known)


def in_language(message: Message, known: Mapping[str, Text], key: str) -> Message:
    """The message with the texts of the translations that `key` (of `key_of`) names. The first has precedence."""
    chain = tuple(filter(None, key.split(","))) if "," in key else _by_beginning(key, known)
    for tag in reversed(chain):
        given = {field: value for field in TEXT_FIELDS if (value := getattr(known[tag], field)) is not UNSET}
        message = msgspec.structs.replace(message, **given)
    return message
