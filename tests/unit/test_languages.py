"""Which translation a user reads."""

import pytest

from notifier.content.languages import chain_of
from notifier.content.render import Renderer
from notifier.model.campaign_reading import read_campaign
from notifier.model.recipient import Recipient


@pytest.mark.parametrize(
    ("locale", "translations", "read"),
    [
        # Scripts: the likely one is added, and another one never wins.
        ("zh-Hant-TW", ["zh", "zh-tw"], ["zh-tw"]),
        ("zh_TW", ["zh", "zh-hant"], ["zh-hant"]),
        ("zh-HK", ["zh", "zh-tw"], ["zh-tw"]),
        ("zh-MO", ["zh-tw", "zh-hk"], ["zh-hk"]),
        ("zh-Hant", ["zh-hans"], []),
        ("zh-TW", ["zh"], []),
        ("zh-CN", ["zh-hant", "zh-hans"], ["zh-hans"]),
        ("zh-Hans-HK", ["zh-hk", "zh"], ["zh"]),
        ("zh-Hant-TW", ["zh-tw", "zh-hant", "zh"], ["zh-tw", "zh-hant"]),
        ("sr-Latn", ["sr"], []),
        ("sr", ["sr-latn"], []),
        ("pa-PK", ["pa"], []),
        ("hi-Latn", ["hi", "en"], []),
        # Codes that were replaced, and macrolanguages.
        ("iw", ["he"], ["he"]),
        ("iw_IL", ["he"], ["he"]),
        ("he", ["iw"], ["iw"]),
        ("iw", ["he", "iw"], ["iw"]),
        ("in_ID", ["id"], ["id"]),
        ("ji", ["yi"], ["yi"]),
        ("tl-PH", ["fil"], ["fil"]),
        ("fil", ["tl"], ["tl"]),
        ("mo", ["ro"], ["ro"]),
        ("sh", ["sr", "sr-latn"], ["sr-latn"]),
        ("no", ["nb"], ["nb"]),
        ("nb-NO", ["no"], ["no"]),
        ("nn-NO", ["nb"], ["nb"]),
        ("nn", ["no", "da"], ["no"]),
        ("cmn-Hans-CN", ["zh"], ["zh"]),
        ("yue", ["zh", "zh-hant"], ["zh-hant"]),
        ("arz", ["ar"], ["ar"]),
        ("gsw-CH", ["de"], ["de"]),
        ("deu", ["de"], ["de"]),
        ("en-UK", ["en-gb"], ["en-gb"]),
        # "Can also read" is not enough.
        ("uk", ["ru"], []),
        ("ca", ["es"], []),
        ("da", ["nb"], []),
        ("id", ["ms"], []),
        # Regions: the nearest, and the language as such behind it.
        ("pt", ["pt-br"], ["pt-br"]),
        ("pt-PT", ["pt-br"], ["pt-br"]),
        ("pt-AO", ["pt-br", "pt-pt"], ["pt-pt"]),
        ("pt-AO", ["pt", "pt-pt"], ["pt-pt", "pt"]),
        ("pt-BR", ["pt-pt", "pt"], ["pt"]),
        ("en-AU", ["en-us", "en-gb"], ["en-gb"]),
        ("es-MX", ["es-es", "es-419", "es"], ["es-419", "es"]),
        ("fr-CA", ["fr-fr", "fr"], ["fr"]),
        ("de-CH-1996", ["de-at", "de"], ["de"]),
        ("en-GB-oxendict", ["en", "en-gb"], ["en-gb", "en"]),
        ("ca-ES-valencia", ["ca", "ca-valencia"], ["ca-valencia", "ca"]),
        # Notations: POSIX, Java, Apple, Android's folders, Accept-Language, BCP 47's extensions; in any case.
        ("DE_de.UTF-8", ["de"], ["de"]),
        ("de_AT@euro", ["de", "de-at"], ["de-at", "de"]),
        ("sr_RS@latin", ["sr", "sr-latn"], ["sr-latn"]),
        ("zh_TW_#Hant", ["zh", "zh-hant"], ["zh-hant"]),
        ("sr__#Latn", ["sr", "sr-latn"], ["sr-latn"]),
        ("zh-Hant_TW", ["zh", "zh-hant"], ["zh-hant"]),
        ("en_US@calendar=gregorian", ["en"], ["en"]),
        ("b+sr+Latn", ["sr", "sr-latn"], ["sr-latn"]),
        ("pt-rBR", ["pt", "pt-br"], ["pt-br", "pt"]),
        ("en-US,en;q=0.9", ["de", "en"], ["en"]),
        ("ja-JP-u-ca-japanese", ["ja"], ["ja"]),
        ("en_US_POSIX", ["en"], ["en"]),
        # No language: only the same word.
        ("xx", ["en", "de"], []),
        ("english", ["en", "english"], ["english"]),
        ("C", ["en"], []),
        ("und", ["en"], []),
        ("root", ["en"], []),
        ("", ["en"], []),
        (None, ["en"], []),
        ("-", ["en"], []),
        ("\x00", ["en"], []),
    ],
)
def test_the_best_translation_for_a_locale(locale: str | None, translations: list[str], read: list[str]) -> None:
    """As CLDR matches languages, without its "can also read", and never in another script."""
    assert list(chain_of(locale, translations)) == read


def test_only_what_a_better_translation_leaves_out_is_taken_from_the_wider_one() -> None:
    """Field by field, and never from another script."""
    message = {
        "title": "Hello",
        "body": "Body",
        "translations": {
            "zh": {"title": "你好", "body": "正文"},
            "zh-TW": {"title": "您好"},
            "zh-Hant": {"body": "內文"},
            "zh-HK": {"title": "你哋好"},
        },
    }
    renderer = Renderer(read_campaign({"id": "c", "message": message}))
    for locale, title, body in (
        ("zh-Hant-TW", "您好", "內文"),
        ("zh_HK", "你哋好", "內文"),
        ("zh_CN", "你好", "正文"),
        ("zh-Hant-MO", "你哋好", "內文"),
    ):
        said = renderer.wording(renderer.render("default", Recipient("u", (), locale)).key).message
        assert (said.title, said.body) == (title, body)


def test_a_stored_key_means_what_it_meant_in_the_release_before() -> None:
    """Deferred devices are stored with the key of their words: a single tag is it, and its own beginnings."""
    message = {"title": "Hello", "translations": {"zh": {"title": "你好 {{ n }}"}, "zh-TW": {"body": "內文"}}}
    renderer = Renderer(read_campaign({"id": "c", "message": message}))
    before = renderer.wording(("default", "zh-tw"))
    assert (before.message.title, before.message.body, before.slots) == ("你好 {{ n }}", "內文", ("title",))
    now = renderer.wording(renderer.render("default", Recipient("u", (), "zh-TW")).key)
    assert (now.message.title, now.message.body, now.locale) == ("Hello", "內文", "zh-tw,")
