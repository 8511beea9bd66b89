"""Who reads which language of a request, as the form says it before anything is sent."""

from approval.form import Form, Texts
from approval.language_reach import LanguageReach, language_reach
from notifier.model.audience_counts import Counts


def test_as_the_worker_chooses() -> None:
    """By the nearest language: a region reads its language's text, another script and an unknown one the main text."""
    form = Form(languages=(Texts(locale="de"), Texts(locale="pt-BR"), Texts(locale="zh-Hans")))
    counts = Counts(users=100, locales={"de_AT": 20, "de": 10, "pt-PT": 5, "zh-TW": 4, "fr": 30})
    assert language_reach(form, counts) == LanguageReach(
        (("de", 30), ("pt-BR", 5), ("zh-Hans", 0)), 65, (("fr", 30), ("zh-TW", 4))
    )


def test_nothing_to_say() -> None:
    """Before it is counted, and of an audience whose users have no locale."""
    assert language_reach(Form(), None) is None
    assert language_reach(Form(languages=(Texts(locale="de"),)), Counts(users=3)) is None
