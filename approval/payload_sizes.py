"""Checks a form's texts against the gateways' limit of 4,096 bytes, for the longest values in the audience.

A payload that is too large is rejected before it is sent, one user at a time: approvers would learn it afterwards.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from approval.arm_names import arm_name
from approval.form import Faults, Form
from approval.preview import MAX_PAYLOAD_BYTES, Preview, previews
from notifier.model.audience_counts import Counts
from notifier.model.campaign import Campaign

_MAX_VALUE_BYTES = MAX_PAYLOAD_BYTES + 1
"""A longer value says no more: alone it is too large."""


def size_faults(form: Form, campaign: Campaign, counts: Counts | None) -> Faults:
    """Texts whose payload would be too large for some user, by field. None before the audience is counted."""
    faults: Faults = {}
    for user in longest_users(counts) if counts is not None else ():
        for preview in previews(campaign, user):
            # With a fault the texts are those that were written, with placeholders: their size says nothing.
            if preview.is_too_large and not preview.fault:
                faults.setdefault(_field_of(preview, form), _in_words(preview))
    return faults


def longest_users(counts: Counts) -> Iterator[Mapping[str, Any]]:
    """A user with the longest value of each attribute. Of an audience of an earlier release: its samples."""
    if not counts.longest:
        yield from counts.samples
        return
    # Only lengths are known: what the values are may not be shown.
    yield {"attributes": {name: "x" * min(n, _MAX_VALUE_BYTES) for name, n in counts.longest.items()}}


def _in_words(preview: Preview) -> str:
    phone = "iPhones" if preview.platform == "ios" else "Android phones"
    return (
        f"For the user with the longest values it has {preview.size_bytes:,} bytes for {phone}, which take "
        f"{MAX_PAYLOAD_BYTES:,}: shorten the text, or cut a placeholder, such as {{{{ name | truncate: 40 }}}}."
    )


def _field_of(preview: Preview, form: Form) -> str:
    """The field that holds the text of this arm and language: the narrowest one that is filled in."""
    arms = [n for n, variant in enumerate(form.variants) if arm_name(variant.name, n) == preview.arm]
    languages = [m for m, texts in enumerate(form.languages) if texts.locale == preview.locale and preview.locale]
    places: list[tuple[str, Any]] = []
    for n in arms:
        own = form.variants[n].languages
        places += [(f"variants.{n}.languages.{m}.", own[m]) for m in languages if m < len(own)]
        places += [] if languages else [(f"variants.{n}.", form.variants[n])]
    places += [(f"languages.{m}.", form.languages[m]) for m in languages] + [("", form)]
    filled = (f"{place}{name}" for place, texts in places for name in ("body", "title") if getattr(texts, name))
    return next(filled, "body")
