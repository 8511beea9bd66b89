"""Words of the approval pages: names of variants and copies, gateways' reasons, characters that nobody sees."""

import pytest

from approval.arm_names import arm_name, name_of_copy
from approval.form_campaign import read_campaign_of
from approval.hidden_characters import marked, marked_text
from approval.pages import iso_tag
from approval.reasons import reason_in_words, run_reason_in_words
from tests.unit.test_approval_form import NOW, typed


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("a", "a"),
        ("Short Text", "short-text"),
        ("Grüße!", "grue"),
        ("短い", "variant-2"),
        ("x" * 40, "x" * 32),
        ("", ""),
    ],
)
def test_a_variant_may_have_any_name(name: str, arm: str) -> None:
    """Files and reports get one that an arm can have; one that is such a name already stays as it is."""
    assert arm_name(name, 1) == arm


def test_two_names_that_are_one_arm_are_a_fault() -> None:
    """At the second of them: the reports could not tell them apart."""
    form = typed(
        name="c", title="Hi", variants__0__name="Short Text", variants__0__percent="50",
        variants__1__name="short-text", variants__1__percent="50",
    )  # fmt: skip
    assert read_campaign_of(form, NOW)[1] == {"variants.1.name": "`short-text` is used twice."}


@pytest.mark.parametrize(
    ("name", "copy"),
    [("", ""), ("x", "x copy"), ("x copy", "x copy 2"), ("x copy 2", "x copy 3"), ("copy", "copy copy")],
)
def test_the_name_of_a_copy(name: str, copy: str) -> None:
    """Counts, where it is a copy of a copy."""
    assert name_of_copy(name) == copy


@pytest.mark.parametrize("one", ["UNREGISTERED", "Unregistered"])
def test_reasons_of_both_gateways_in_the_same_words(one: str) -> None:
    """A person need not know who says it; a reason that is not known here is shown as words."""
    assert reason_in_words(one) == "the app was removed, or pushes were turned off"
    assert reason_in_words("BadCollapseId") == "bad collapse id"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "credentials_refused: InvalidProviderToken by apns, with renewed credentials too; apns secret a_b: is it",
            "Apple refuses our key (InvalidProviderToken), also after it was read again; apns secret a_b: is it",
        ),
        (
            "credentials_refused: fcm secret my_app: private_key is a certificate",
            "the key for Google or Apple cannot be used: fcm secret my_app: private_key is a certificate",
        ),
        (
            "BadTopic: apns refuses everything until this is fixed",
            "Apple refuses everything until this is corrected: BadTopic",
        ),
        (
            "no_progress: 5 claims in a row settled nothing; last: s3_key missing",
            "it was begun several times, and nothing was sent: 5 claims in a row settled nothing; last: s3_key missing",
        ),
        ("s3://b/a_b.json: not there any more", "s3://b/a_b.json: not there any more"),
        ("a field user_id is missing", "a field user_id is missing"),
        ("payload_refused", "payload refused"),
        ("", ""),
    ],
)
def test_why_a_run_stopped(reason: str, words: str) -> None:
    """The name at the front in words; secrets, fields and files keep their own names, underscores and all."""
    assert run_reason_in_words(reason) == words


def test_faults_are_in_plain_words() -> None:
    """No expression, no name of a field of the file."""
    form = typed(
        name="c", title="Hi", start="2026-12-02T10:00", latest="2026-12-01T10:00", variants__0__name="Control",
        variants__0__percent="50",
    )  # fmt: skip
    assert read_campaign_of(form, NOW)[1] == {
        "latest": "This must be later than the time in “Not before”.",
        "variants.0.name": "The control group has this name: choose another one.",
        "control_percent": "Percentages sum to 50, not 100 (variants and control group together).",
    }


def test_a_start_in_the_past_is_a_fault() -> None:
    """It would be sent at once, which is not what was asked for."""
    _, faults = read_campaign_of(typed(name="c", title="Hi", start="2026-11-21T14:00"), NOW)
    assert faults == {"start": "This time has passed. Leave it empty to send as soon as it is approved."}
    assert read_campaign_of(typed(name="c", title="Hi", start="2026-11-21T14:01"), NOW)[1] == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pay\u202egnp.exe", "pay[U+202E]gnp.exe"),
        ("ex\u200bample", "ex[U+200B]ample"),
        ("a\u200db", "a[U+200D]b"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("<b>", "<b>"),
    ],
)
def test_what_nobody_sees_is_marked(text: str, shown: str) -> None:
    """Overrides of direction and characters without width; not the joiners of an emoji, or of Persian."""
    assert marked_text(text) == shown
    html = str(marked(text))
    assert ("<mark title=" in html) == (text != shown)
    assert "<b>" not in html


def test_a_time_that_another_function_has_written() -> None:
    """As the pages write times; what is none stays what it is, and is text."""
    assert str(iso_tag("2026-11-21T14:05:00+00:00")).endswith(">21 Nov 2026, 14:05 UTC</time>")
    assert str(iso_tag("soon <b>")) == "soon &lt;b&gt;"
