"""How many users read which language of a request: as the worker will choose it for each of them."""

from collections import Counter

import msgspec

from approval.form import Form
from notifier.content.languages import chain_of
from notifier.model.audience_counts import Counts


class LanguageReach(msgspec.Struct, frozen=True):
    """Users by language of the form, in its order, and those who read the main text.

    `missing` are locales of the audience that no language of the form is for, the most frequent first.
    """

    languages: tuple[tuple[str, int], ...]
    main: int
    missing: tuple[tuple[str, int], ...]


MOST_MISSING = 5


def language_reach(form: Form, counts: Counts | None) -> LanguageReach | None:
    """Who reads what; None before the audience is counted, or where it says no languages."""
    if counts is None or not counts.locales:
        return None
    typed = {one.locale.strip().lower().replace("_", "-"): one.locale.strip() for one in form.languages if one.locale}
    read, missing = Counter[str](), Counter[str]()
    for locale, users in counts.locales.items():
        chain = chain_of(locale, typed)
        if chain:
            read[typed[chain[0]]] += users
        else:
            missing[locale] += users
    languages = tuple((shown, read[shown]) for shown in typed.values())
    return LanguageReach(languages, counts.users - sum(read.values()), tuple(missing.most_common(MOST_MISSING)))
