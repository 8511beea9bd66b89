"""Small values of the approval app: people, settings, forecasts, previews, paths, mails."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from approval.audience import duration_s, forecast, in_words, users_at_night
from approval.config import BadSettings, read_settings
from approval.form import Form, Texts, VariantForm
from approval.mail import Mail, as_mime
from approval.people import address_of, addresses, mail_recipients, may_sign_in, person
from approval.preview import campaign_for_preview, previews
from approval.web import own_path
from notifier.model.audience_counts import Counts
from notifier.model.campaign import Winner
from notifier.model.campaign_reading import read_campaign
from notifier.model.mailbox import is_same_person
from tests.approval_site import read_mail

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
NEEDED = {
    "BUCKET": "b", "TABLE": "t", "APPROVAL_TABLE": "a", "CONTROL_FUNCTION": "c", "AUDIENCE_FUNCTION": "f",
    "SIGNING_SECRET_ARN": "s",
    "MAIL_FROM": "push@example.com",
}  # fmt: skip


def test_settings_are_read_once_and_whole() -> None:
    """Lists become lists, numbers numbers."""
    settings = read_settings(
        NEEDED | {"REQUESTERS": "Ann@Example.com, @example.org", "TWO_APPROVERS_ABOVE": "5", "WORK_DAYS": "9"}
    )
    assert settings.requesters == ("ann@example.com", "@example.org")
    assert settings.limits.two_approvers_above == 5
    assert settings.kept.least == 9


@pytest.mark.parametrize(("review", "kept", "days"), [("30", "7", 7), ("7", "30", 7), ("0", "30", 1), ("40", "", 30)])
def test_a_review_lasts_no_longer_than_its_audience_is_kept(review: str, kept: str, days: int) -> None:
    """Otherwise a request could be decided on whose audience is gone."""
    settings = read_settings(NEEDED | {"REVIEW_DAYS": review, "BATCH_FILE_DAYS": kept})
    assert settings.limits.review_days == days


def test_every_fault_of_the_settings_is_told() -> None:
    """By the variable's name, all at once."""
    with pytest.raises(BadSettings) as caught:
        read_settings({"MODE": "loud", "RAMP_S": "-1"})
    for name in (*NEEDED, "MODE", "RAMP_S"):
        assert name in str(caught.value)


@pytest.mark.parametrize("text", ["ann@example.com", " Ann@Example.COM ", "a.b+c@x-y.example"])
def test_addresses(text: str) -> None:
    """Are compared in lower case."""
    assert address_of(text) == text.strip().lower()


@pytest.mark.parametrize(
    "text", ["", "ann", "ann@", "@x", "a b@x.y", "a@x..y", "a@x\nBcc: b@x", "<a@x.y>", "a@x,b@y", "é@x.y"]
)
def test_what_is_no_address(text: str) -> None:
    """Nothing is sent there."""
    assert address_of(text) is None


def test_roles_are_by_address_and_by_domain() -> None:
    """A domain is the part after the @, whole; part of it is another domain."""
    lists = (("ann@example.com", "@example.org"), ("example.net",))
    assert person("ann@example.com", *lists).is_requester
    assert person("any@example.org", *lists).is_requester
    assert person("any@example.net", *lists).is_approver
    for other in ("bob@example.com", "x@sub.example.org", "x@notexample.org", "x@example.org.evil.com"):
        assert not person(other, *lists).is_known
    assert addresses(("@example.org", "bob@x.y")) == ("bob@x.y",)


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("eve@x.org", "eve+a@x.org", True),
        ("eve+b@x.org", "EVE+a+c@X.org", True),
        ("e.v.e@gmail.com", "eve+a@googlemail.com", True),
        ("e.ve@x.org", "eve@x.org", False),
        ("eve@x.org", "eve@y.org", False),
        ("+eve@x.org", "+ann@x.org", False),
    ],
)
def test_one_mailbox_is_one_person(one: str, other: str, are_same: bool) -> None:
    """Tags, case and the dots that Gmail ignores make no other person; the same dots elsewhere do."""
    assert is_same_person(one, other) == are_same


def test_a_tag_needs_an_entry_of_its_own() -> None:
    """Everybody of a domain could write as many tags as they like; one that is listed was meant."""
    people = ("@x.org", "ann+push@y.org")
    assert may_sign_in("eve@x.org", people)
    assert may_sign_in("ann+push@y.org", people)
    assert not may_sign_in("eve+a@x.org", people)
    assert not may_sign_in("ann+other@y.org", people)
    assert mail_recipients(("bob+1@x.org", "eve@x.org", "cat@x.org"), "eve+a@x.org", people) == (
        "ann+push@y.org",
        "cat@x.org",
    )


def test_who_would_be_woken() -> None:
    """From 22:00 on, before 08:00, by the clock where the user is; unknown zones count for no user."""
    zones = {"Europe/London": 1, "Asia/Tokyo": 10, "America/Los_Angeles": 100, "Nowhere/At_All": 1000}
    assert users_at_night(zones, NOW) == 110  # 23:00 in Tokyo, 06:00 in Los Angeles
    assert users_at_night({"UTC": 1}, datetime(2026, 1, 1, 8, 0, tzinfo=UTC)) == 0
    assert users_at_night({"UTC": 1}, datetime(2026, 1, 1, 22, 0, tzinfo=UTC)) == 1


def test_how_long_it_takes() -> None:
    """Half speed while it ramps up, then full."""
    assert duration_s(270_000, 9000, 60) == 60
    assert duration_s(270_000 + 90_000, 9000, 60) == 70
    assert duration_s(10, 10, 0) == 1
    assert [in_words(seconds) for seconds in (5, 120, 7260)] == ["5 s", "2 min", "2 h 1 min"]


def test_figures_by_arm() -> None:
    """What to expect in every arm, control too."""
    campaign = read_campaign(
        {"id": "c", "message": {"title": "x"}, "variants": [{"name": "a", "percent": 90}], "control_percent": 10}
    )
    counts = Counts(users=1000, devices={"ios": {"apns": 300, "fcm": 100}}, repeated_tokens=2)
    seen = forecast(counts, NOW, campaign, 9000, 60)
    assert [(arm.name, arm.users, arm.platforms) for arm in seen.arms] == [
        ("a", 900, {"ios": 360}),
        ("control", 100, {"ios": 40}),
    ]
    tested = msgspec.structs.replace(campaign, winner=Winner(Decimal(40), 4, 8))
    seen = forecast(counts, NOW, tested, 9000, 60)
    assert (seen.is_test_first, [(arm.name, arm.users, arm.platforms) for arm in seen.arms]) == (
        True,
        [("a", 360, {"ios": 144}), ("control", 40, {"ios": 16})],
    )
    # A prepared audience has each token once; files that are sent as they are have them as often as they say.
    assert not seen.needs_tick
    assert forecast(counts, NOW, campaign, 9000, 60, repeats=True).needs_tick


CAMPAIGN = read_campaign(
    {
        "id": "c",
        "message": {
            "title": "Hi {{ first_name }}",
            "body": "B",
            "translations": {"de": {"title": "Hallo {{ first_name }}"}},
        },
        "variants": [{"name": "a", "percent": 50}, {"name": "b", "percent": 50, "message": {"body": "C"}}],
    }
)


def test_previews_of_every_arm_language_and_platform() -> None:
    """As the user reads them, with the bytes of the payload."""
    seen = previews(CAMPAIGN, {"user_id": "u", "attributes": {"first_name": "Ann"}, "devices": [{"token": "ab…"}]})
    assert [(p.arm, p.locale, p.platform) for p in seen] == [
        (arm, locale, platform) for arm in "ab" for locale in ("", "de") for platform in ("android", "ios")
    ]
    assert {p.title for p in seen} == {"Hi Ann", "Hallo Ann"}
    assert all(80 < p.size_bytes < 400 and not p.is_too_large for p in seen)


def test_a_preview_says_what_the_user_misses() -> None:
    """And shows the placeholder as it was written."""
    seen = previews(CAMPAIGN, {"user_id": "u"})
    assert {p.title for p in seen} == {"Hi {{ first_name }}", "Hallo {{ first_name }}"}
    assert all("first_name" in p.fault for p in seen)


def test_a_payload_over_4096_bytes_is_seen_before_it_is_sent() -> None:
    """On both platforms, counted in UTF-8."""
    campaign = read_campaign({"id": "c", "message": {"title": "Ü" * 900, "body": "ü" * 1200}})
    assert all(p.is_too_large for p in previews(campaign, None))


def test_the_preview_forgives_what_it_does_not_show() -> None:
    """Percentages and times that are not right yet do not hide the phones."""
    form = Form(
        title="Hi", control_percent="x", start="soon", languages=(Texts(title="no locale yet"),),
        variants=(VariantForm(name="a"), VariantForm(percent="7", title="Ho")),
    )  # fmt: skip
    campaign = campaign_for_preview(form, NOW)
    assert campaign is not None
    assert [p.title for p in previews(campaign, None) if p.platform == "ios"] == ["Hi", "Ho"]
    assert campaign_for_preview(Form(title="{{"), NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        "//evil.com",
        "https://evil.com",
        "/\\evil.com",
        "evil",
        "",
        "/a\nb",
        "/../x",
        "/a b",
        '/"',
        "javascript:x",
        "/é",
        "/" * 400,
    ],
)
def test_after_signing_in_nobody_leaves_the_app(text: str) -> None:
    """Only a path of ours is gone to."""
    assert own_path(text) == "/requests"


def test_the_way_back_loses_the_stage() -> None:
    """API Gateway's path begins with it; our redirects put it there again."""
    assert own_path("/prod/requests/1", "/prod") == "/requests/1"
    assert own_path("/requests/1", "/prod") == "/requests/1"


def test_a_mail_is_text_and_html_and_its_subject_one_line() -> None:
    """A line break in a name adds no header."""
    mail = read_mail(as_mime("a@x.y", Mail("b@x.y", "Hi\r\nBcc: c@x.y", "text", "<p>html</p>")))
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Hi Bcc: c@x.y"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
