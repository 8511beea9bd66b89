"""What an approver decides on, in one card: its facts, the texts they have looked at, what has changed since."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from approval.left_out import LeftOutKept
from approval.pages import utc
from approval.prepared import LeftOutNow
from notifier.model.caps import CapDefaults
from tests.approval_site import (
    ANN,
    BOB,
    BUCKET,
    CAT,
    FORM,
    TABLE,
    Browser,
    World,
    count,
    decision,
    moto_server,
    new_request,
)

SIX = {
    **FORM, "timezone": "UTC", "start": "2026-11-22T10:00", "deep_link": "app://coats",
    "image_url": "https://cdn.example.com/a.png", "control_percent": "10",
    "languages.0.locale": "de", "languages.0.title": "Hallo", "languages.1.locale": "fr", "languages.1.title": "Salut",
    "variants.0.name": "Long", "variants.0.percent": "45", "variants.1.name": "Short Text", "variants.1.percent": "45",
    "variants.1.title": "Coats", "variants.1.languages.0.title": "Mäntel", "variants.1.languages.1.title": "Manteaux",
}  # fmt: skip
"""Two variants in three languages."""
ZONES = {"Europe/London": 300, "Europe/Lisbon": 50, "Asia/Tokyo": 100, "no such zone": 20}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def world(endpoint: str) -> World:
    return World(endpoint)


def words(html: str) -> str:
    """A page's text, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def card(browser: Browser, id_: str, **query: str) -> str:
    """The text of the card alone."""
    page = browser.get(f"/requests/{id_}", **query).body
    return words(page.partition('id="card"')[2].partition("</section>")[0])


def test_the_card_has_the_facts(world: World) -> None:
    """Who and how many, how many are left out and why, the readers' own clocks, one text with its addresses."""
    id_ = new_request(world.browser(ANN), world, form=SIX, timezones=ZONES, invalid={"token: missing": 7})
    said = card(world.browser(BOB), id_)
    for fact in (
        "500 users", "600 devices", "10 % control : 50 get nothing", "7 cannot be read", "22 Nov 2026, 10:00 UTC",
        "10:00 London, Lisbon · 350", "19:00 Tokyo · 100", "30 without a time zone",
        "Hi Ann", "Opens app://coats", "Image https://cdn.example.com/a.png",
        "1 of 6 texts seen · Long · main language",
    ):  # fmt: skip
        assert fact in said, fact


def test_clocks_of_a_start_on_approval_are_of_now(world: World) -> None:
    """What the clocks show, and who is woken, then depends on when it is approved: page and mail say so."""
    bob = world.browser(BOB)
    id_ = new_request(world.browser(ANN), world, timezones={"Asia/Tokyo": 100})
    page = words(bob.get(f"/requests/{id_}").body)
    assert "When approved If approved now: 23:00 Tokyo · 100, at night" in page
    assert "At night, if approved now 20 % of the users, 100," in page
    assert "For 100 users of the audience it would be night, if approved now." in page
    assert "At night (22:00–08:00, their time), if sent now 100" in page
    now = utc(int(world.clock().timestamp() * 1000))
    mail = next(mail for mail in reversed(world.mailbox.mails) if mail["to"] == BOB)
    for part in (words(mail["html"]), words(mail["text"])):
        assert re.search(f"[iI]f approved {now}: 23:00 (?:in )?Tokyo", part), part
        assert f"100 users would get it between 22:00 and 08:00, if approved {now}" in part
    dated = new_request(world.browser(ANN), world, form=SIX, timezones=ZONES)
    assert "if approved now" not in words(bob.get(f"/requests/{dated}").body).lower()


def test_who_would_be_left_out_is_on_the_card_once_it_was_asked(world: World) -> None:
    """The answer of a moment ago, to the same question; with other rules it is not known."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    assert "who would be left out now?" in card(bob, id_)
    world.audiences.answer = {
        "users": 500,
        "left_out": {"suppressed": 20, "capped": 3},
        "as_of": "2026-11-21T14:00:00Z",
    }
    bob.get(f"/requests/{id_}/left-out")
    assert "Left out: 20 want no pushes, 3 have had enough campaigns, as of 21 Nov 2026, 14:00 UTC" in card(bob, id_)
    world.clock.forward(hours=5)
    assert "have had enough campaigns, as of 21 Nov 2026, 14:00 UTC" in card(world.browser(BOB), id_)
    world.browser(ANN).post(f"/requests/{id_}/remind")
    asked = next(mail for mail in reversed(world.mailbox.mails) if mail["to"] == BOB)
    for body in (asked["text"], words(asked["html"])):
        assert re.search(r"3 have had enough campaigns,? \(?as of .*21 Nov 2026,? .*14:00", body), body
    world.clock.forward(hours=25)
    assert "who would be left out now?" in card(world.browser(BOB), id_)


def test_an_answer_for_a_draft_with_faults_is_not_that_of_the_campaign(world: World) -> None:
    """Its rules are not known yet, so that the card of the campaign that it becomes asks once more."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    typed = {**FORM, "audience": world.put_audience()}
    count(ann, world, id_, {**typed, "name": ""})
    world.audiences.answer = {"users": 500, "left_out": {"suppressed": 20}, "as_of": "2026-11-21T14:00:00Z"}
    assert "20 want no pushes" in ann.get(f"/requests/{id_}/left-out").body
    version = ann.get(f"/requests/{id_}").field("version")
    assert ann.post(f"/requests/{id_}", {**typed, "version": version, "do": "submit"}).status == 303
    assert "who would be left out now?" in card(bob, id_)
    ann.get(f"/requests/{id_}/left-out")
    assert "Left out: 20 want no pushes" in card(bob, id_)


def test_an_answer_is_of_these_rules_alone(world: World) -> None:
    """A test before a winner leaves out whoever is not in its part, which the experiment draws: other rules each."""
    kept = LeftOutKept(world.client("dynamodb"), TABLE)
    found = LeftOutNow(500, {"suppressed": 20}, world.clock())
    kept.keep("m", {"id": "a"}, found, 0)
    assert kept.last("m", {"id": "b"}, 1) == found
    rules: tuple[dict[str, Any], ...] = (
        {"winner": {"test_percent": 20}}, {"experiment": "weekly"}, {"legal": True}, {"local_time": {}},
    )  # fmt: skip
    for rule in rules:
        assert kept.last("m", rule, 1) is None, rule


def test_a_control_group_of_few_users_is_on_the_card(world: World) -> None:
    """Also where so small a share of them is expected to be nobody: it may be one of them."""
    id_ = new_request(world.browser(ANN), world, users=3, timezones={})
    assert "10 % control , of so few users perhaps nobody" in card(world.browser(BOB), id_)


def test_texts_seen_are_kept_for_each_approver(world: World) -> None:
    """On every device of theirs, without a script; the next visit begins with the first that they have not seen."""
    id_ = new_request(world.browser(ANN), world, form=SIX)
    bob, tablet, cat = world.browser(BOB), world.browser(BOB), world.browser(CAT)
    for number in range(2):
        seen = {"content_hash": decision(bob, id_)["content_hash"], "text": str(number)}
        assert bob.post(f"/requests/{id_}/seen", seen).status == 303
    assert "3 of 6 texts seen · Long · fr" in card(tablet, id_)
    assert "3 of 6 texts seen · Short Text · de" in card(tablet, id_, text="4")
    assert "1 of 6 texts seen" in card(cat, id_)


def test_approving_names_the_texts_that_were_not_seen(world: World) -> None:
    """It is refused until they are seen, or the approver says so; then the trail says so, too."""
    id_ = new_request(world.browser(ANN), world, form=SIX)
    bob = world.browser(BOB)
    page = bob.get(f"/requests/{id_}").body
    unseen = "Long · de, Long · fr, Short Text · main language, Short Text · de, Short Text · fr"
    assert f"You have not looked at 5 of 6 texts: {unseen}." in page
    asked = decision(bob, id_)
    refused = bob.post(f"/requests/{id_}/approve", {**asked, "unseen": ""})
    assert refused.status == 409
    assert f"You have not looked at: {unseen}." in refused.body
    assert bob.post(f"/requests/{id_}/approve", asked).status == 303
    assert f"without looking at {unseen}" in bob.get(f"/requests/{id_}").body


def test_who_has_seen_all_is_not_asked(world: World) -> None:
    """The text on the page counts as seen."""
    id_ = new_request(world.browser(ANN), world, form=SIX)
    bob = world.browser(BOB)
    for number in range(5):
        seen = {"content_hash": decision(bob, id_)["content_hash"], "text": str(number)}
        bob.post(f"/requests/{id_}/seen", seen)
    page = bob.get(f"/requests/{id_}").body
    assert "6 of 6 texts seen" in words(page)
    assert "You have not looked at" not in page
    asked = decision(bob, id_)
    assert "unseen" not in asked
    assert bob.post(f"/requests/{id_}/approve", asked).status == 303


def test_a_text_that_there_is_not_cannot_be_seen(world: World) -> None:
    """Nor one of a content that was changed since."""
    id_ = new_request(world.browser(ANN), world, form=SIX)
    bob = world.browser(BOB)
    hash_ = decision(bob, id_)["content_hash"]
    before = world.items()
    for fields in ({"text": "6"}, {"text": "x"}, {"text": ""}, {}, {"content_hash": "0" * 64, "text": "0"}):
        assert bob.post(f"/requests/{id_}/seen", {"content_hash": hash_, **fields}).status == 409, fields
    assert world.items() == before


def test_what_has_changed_since_one_looked_is_marked(world: World) -> None:
    """By field, for the approver who had looked before; the texts have to be looked at again."""
    ann, bob, cat = world.browser(ANN), world.browser(BOB), world.browser(CAT)
    id_ = new_request(ann, world, form=SIX)
    asked = decision(bob, id_)
    bob.post(f"/requests/{id_}/seen", {"content_hash": asked["content_hash"], "text": "0"})
    ann.post(f"/requests/{id_}/take_back")
    changed = {**SIX, "variants.1.title": "Warm coats", "latest": "2026-11-22T20:00", "audience": world.put_audience()}
    version = ann.get(f"/requests/{id_}").field("version")
    assert ann.post(f"/requests/{id_}", {**changed, "version": version, "do": "submit"}).status == 303
    said = card(bob, id_)
    assert "2 fields differ since you last looked, 21 Nov 2026, 14:00 UTC" in said
    assert "Title of Short Text Coats Warm coats" in said
    assert "Not after 2026-11-22T20:00" in said
    assert "1 of 6 texts seen" in said
    assert "since you last looked" not in card(cat, id_)
    assert bob.post(f"/requests/{id_}/approve", asked).status == 409


def test_a_file_that_was_written_again(world: World) -> None:
    """The approver may approve the version that was reviewed, which is what is sent, or look at the new one first."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    assert bob.post(f"/requests/{id_}/newer").status == 409
    world.put_audience(body=b'[{"user_id":"u2","platform":"web","token":"t2"}]')
    page = bob.get(f"/requests/{id_}").body
    assert 'Approve<span class="more"> the version that you reviewed</span>' in page
    assert "Count the new version" in page
    assert bob.post(f"/requests/{id_}/newer").status == 303
    assert "The new one is being counted." in bob.get(f"/requests/{id_}").body
    world.finish_counts(users=512)
    said = words(bob.get(f"/requests/{id_}").body)
    assert "The new one: 512 users (12 more), 600 devices." in said
    assert "500 users" in card(bob, id_)
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 303
    assert "512" not in str(world.client("s3").get_object(Bucket="campaigns", Key=f"batches/{id_}.json")["Body"].read())


def test_what_else_they_got_this_week(world: World) -> None:
    """How many of the same files, beside what is to be weighed; which they are is said once, in the list of all."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    before = new_request(ann, world, form={**FORM, "name": "on-monday"})
    assert bob.post(f"/requests/{before}/approve", decision(bob, before)).status == 303
    world.clock.forward(days=5)
    id_ = new_request(world.browser(ANN), world, form={**FORM, "name": "on-saturday"})

    def this_week() -> str:
        return world.browser(BOB).get(f"/requests/{id_}").body.partition("This week")[2].partition("</dl>")[0]

    assert '<a href="#others">1 other push to the same files</a>' in this_week()
    page = world.browser(BOB).get(f"/requests/{id_}").body
    assert page.count("on-monday") == page.partition('id="others"')[2].count("on-monday") == 1
    assert "Not known by user: nobody has set the time zone" in this_week()
    world.clock.forward(days=3)
    assert "nothing else was sent to these files in 7 days" in this_week()


def test_how_many_have_had_other_campaigns_this_week(endpoint: str) -> None:
    """By user, where the stack counts them: asked for once the page is there, and kept with who is left out."""
    world = World(endpoint, cap_defaults=CapDefaults((), "Europe/London"))
    bob = world.browser(BOB)
    id_ = new_request(world.browser(ANN), world)
    path = f"/requests/{id_}/left-out"

    def this_week() -> str:
        return bob.get(f"/requests/{id_}").body.partition("This week")[2].partition("</dl>")[0]

    assert f'data-later="/prod{path}" data-takes="reached"' in this_week()
    answer = {"users": 500, "left_out": {}, "as_of": "2026-11-21T14:00:00Z"}
    for reached, said in (
        (
            {"1": 200, "2": 30, "3": 4},
            "About 234 of 500 users have had a campaign in the last 7 days: 200 one, 30",
        ),
        ({"1": 0, "2": 0, "3": 1}, "About 1 of 500 users have had a campaign in the last 7 days: 1 three or more."),
        ({"1": 0, "2": 0, "3": 0}, "None of the 500 users has had a campaign in the last 7 days."),
    ):
        world.audiences.answer = answer | {"reached": reached}
        assert said in bob.get(path).body.partition('data-part="reached"')[2]
        assert said in this_week()
        assert "21 Nov 2026, 14:00 UTC" in this_week()
    world.audiences.answer = answer
    assert "is not known by user" in bob.get(path).body.partition('data-part="reached"')[2]


LOCAL = {**FORM, "local": "yes", "start": "2026-11-22T19:00"}
"""At seven in the evening by each user's own clock, or until ten: 10:00 to 13:00 UTC in Tokyo."""


def test_clocks_keep_quiet_hours(world: World) -> None:
    """Who waits for their end is not said to get it at night: the clock is of the moment when they get it."""
    quiet = {"quiet": "own", "quiet_from": "21:00", "quiet_to": "08:00", "start": ""}
    id_ = new_request(world.browser(ANN), world, form={**FORM, **quiet}, timezones={"Asia/Tokyo": 100})
    said = card(world.browser(BOB), id_)
    assert "08:00 Tokyo · 100" in said
    assert "at night" not in said


def test_an_hour_that_is_past_by_the_users_clocks_is_asked_about(world: World) -> None:
    """On the card and in the mail; it is approved only by who says that they have seen it, which the trail has."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world, form={**LOCAL, "if_past": "now"})
    assert "hour is past" not in card(bob, id_)
    world.clock.now = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
    bob = world.browser(BOB)
    late = "For 50 users the hour is past when it begins: they get it as soon as it begins."
    assert late in card(bob, id_)
    world.browser(ANN).post(f"/requests/{id_}/remind")
    assert late in next(mail["text"] for mail in reversed(world.mailbox.mails) if mail["to"] == BOB)
    refused = bob.post(f"/requests/{id_}/approve", decision(bob, id_))
    assert (refused.status, late in refused.body) == (409, True)
    assert 'name="now"' in refused.body
    assert bob.post(f"/requests/{id_}/approve", {**decision(bob, id_), "now": "yes"}).status == 303
    assert late in bob.get(f"/requests/{id_}").body


def test_what_the_final_cut_would_refuse_is_not_approved(world: World) -> None:
    """Where too many are too late and the form does not say what becomes of them, no tick helps."""
    id_ = new_request(world.browser(ANN), world, form=LOCAL)
    world.clock.now = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
    bob = world.browser(BOB)
    refused = bob.post(f"/requests/{id_}/approve", {**decision(bob, id_), "now": "yes"})
    assert (refused.status, "the run would be refused. Reject it, to have it changed." in refused.body) == (409, True)
    assert world.batch_files() == []


def test_who_has_only_opened_the_page_reads_what_has_changed(world: World) -> None:
    """A request with one text has no button to go on: that its page was open is enough, and no text counts by it."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    assert "since you last looked" not in card(bob, id_)
    ann.post(f"/requests/{id_}/take_back")
    fields = {**FORM, "title": "Changed", "audience": world.put_audience()}
    version = ann.get(f"/requests/{id_}").field("version")
    assert ann.post(f"/requests/{id_}", {**fields, "version": version, "do": "submit"}).status == 303
    for _ in range(2):
        assert "1 field differs since you last looked, 21 Nov 2026, 14:00 UTC" in card(bob, id_)
    before = world.items()
    ann.get(f"/requests/{id_}")
    assert world.items() == before


def test_each_of_very_many_texts_is_shown(world: World) -> None:
    """Also those beyond the previews of the page: what counts as seen was on the page."""
    locales = re.findall("..", "arbgbncacsdadeelesetfafifrhehihrhuiditjakoltlvmsnlplptrorusv")
    variants = {
        f"variants.{n}.{name}": value
        for n, percent in enumerate(("30", "30", "40"))
        for name, value in {"name": f"v{n}", "percent": percent}.items()
    }
    languages = {
        f"languages.{n}.{name}": value
        for n, locale in enumerate(locales)
        for name, value in {"locale": locale, "title": f"Title in {locale}"}.items()
    }
    id_ = new_request(world.browser(ANN), world, form={**FORM, "control_percent": "", **languages, **variants})
    said = card(world.browser(BOB), id_, text="92")
    assert "1 of 93 texts seen · v2 · sv" in said
    assert "Title in sv" in said
    mail = next(mail["text"] for mail in world.mailbox.mails if mail["to"] == BOB)
    assert "and 87 more" in mail


def test_a_test_from_the_decision_is_of_the_user_shown(world: World) -> None:
    """A text that needs an attribute could not be sent to nobody in particular."""
    id_ = new_request(
        world.browser(ANN), world, form={**FORM, "title": "Hi {{ first_name }}"}, attributes={"first_name": 500}
    )
    bob = world.browser(BOB)
    bob.post("/devices", {"label": "", "platform": "ios", "token": "t" * 64, "environment": "production"})
    bar = bob.get(f"/requests/{id_}").body.partition('id="decide"')[2]
    sample = re.search(r'name="sample" value="(\d+)"', bar.partition("</form>")[0])
    assert sample is not None
    assert bob.post(f"/requests/{id_}/test", {"sample": sample[1]}).status == 303
    assert user_tested(world)["attributes"] == {"first_name": "Ann<b>"}


def test_a_draft_is_tested_with_the_longest_values(world: World) -> None:
    """Where the composer's phone shows them, the test push has them, too."""
    ann = world.browser(ANN)
    ann.post("/devices", {"label": "", "platform": "ios", "token": "t" * 64, "environment": "production"})
    id_ = ann.post("/requests").location.rpartition("/")[2]
    fields = {**FORM, "audience": world.put_audience()}
    count(ann, world, id_, fields, longest={"first_name": 7})
    version = ann.get(f"/requests/{id_}").field("version")
    answer = ann.post(f"/requests/{id_}", {**fields, "version": version, "sample": "longest", "do": "test"})
    assert answer.status == 303
    assert user_tested(world)["attributes"] == {"first_name": "xxxxxxx"}


def user_tested(world: World) -> Any:
    """The one user of the one test push that was written."""
    (key,) = world.keys("batches/test/")
    return msgspec.json.decode(world.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())["users"][0]
