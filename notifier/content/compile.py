"""Compiles a text with placeholders, once for a campaign; it is filled in a million times.

Placeholders are Liquid (https://shopify.github.io/liquid/). Most texts only print attributes, with or without a
default: these are plain templates. All others are rendered by Liquid itself (`notifier.content.liquid`), which is
imported only if a text has a placeholder.
"""

from typing import TYPE_CHECKING, TypeAlias

from notifier.content.template import BadTemplate, PlainTemplate, has_placeholder

if TYPE_CHECKING:
    from notifier.content.liquid import LiquidTemplate

Template: TypeAlias = "PlainTemplate | LiquidTemplate"
"""A compiled text; a LiquidTemplate if only Liquid can render it."""

MAX_SOURCE_CHARS = 20_000
"""A payload has at most 4,096 bytes, so a longer text is a mistake."""


def compiled(source: str) -> Template:
    """The template of a text.

    Raises:
        BadTemplate: with line and column: it is not Liquid, or uses what is not allowed.
    """
    if not has_placeholder(source):
        return PlainTemplate((source,))
    if len(source) > MAX_SOURCE_CHARS:
        raise BadTemplate(f"longer than {MAX_SOURCE_CHARS} characters", "shorten it: a payload holds 4,096 bytes")
    from notifier.content import liquid as liquid_text  # noqa: PLC0415 - costs 0.3 s, and most campaigns never need it

    return liquid_text.compiled(source)
