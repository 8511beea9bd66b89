"""The composer's parts: attributes, languages and one phone for a counted audience, times by zone, tests of drafts."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from notifier.stores.ledger import DynamoLedger
from tests.approval_site import (
    ANN,
    BOB,
    BUCKET,
    FORM,
    LEDGER,
    Browser,
    World,
    count,
    decision,
    moto_server,
    new_request,
)

DEVICE = {"label": "Ann's", "platform": "ios", "environment": "production", "gateway": ""}
MANY = {
    **FORM,
    "languages.0.locale": "de",
    "languages.0.title": "Hallo",
    "variants.0.name": "Short Text",
    "variants.0.percent": "45",
    "variants.1.name": "b",
    "variants.1.percent": "45",
}
LOCAL = {**FORM, "local": "yes", "start": "2026-12-01T09:00", "quiet": "none"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def world(endpoint: str) -> World:
    return World(endpoint)


def draft(ann: Browser) -> str:
    return ann.post("/requests").location.rpartition("/")[2]


def parts(browser: Browser, fields: dict[str, Any], id_: str = "") -> dict[str, str]:
    """The parts of the page that change with what is typed."""
    found: dict[str, str] = json.loads(browser.post(f"/preview?request={id_}", fields).body)["parts"]
    return found


def test_a_counted_audience_is_known_to_everything_after_it(world: World) -> None:
    """Chips with how many lack what, a slip in a name, who reads which language, the phone of any user."""
    ann = world.browser(ANN)
    id_, key = draft(ann), world.put_audience()
    fields = {**MANY, "audience": key, "version": "0"}
    assert "its attributes are offered here" in parts(ann, fields)["chips"]
    locales, longest = {"de-AT": 30, "en-GB": 470}, {"first_name": 40}
    count(ann, world, id_, fields, locales=locales, longest=longest)
    found = parts(ann, {**fields, "body": "{{ frist_name }}", "show_language": "0", "show_variant": "1"})
    assert re.search(r"data-insert=\"\{\{ first_name \| default: &#39;there&#39; \}\}\".*20 lack it", found["chips"])
    assert "did you mean <code>first_name</code>" in found["chips"]
    assert (found["reach-main"], found["reach-0"]) == ("470", "30")
    assert "Nobody has frist_name: did you mean first_name?" in found["checks"]
    shown = parts(ann, {**fields, "show_platform": "android", "show_state": "open", "sample": "longest"})
    assert f"Hi {'x' * 40}" in shown["panel"]
    assert 'class="phone android open"' in shown["panel"]
    assert "Hallo" in parts(ann, {**fields, "show_language": "0"})["panel"]
    assert "Hi there" in parts(ann, {**fields, "sample": "none"})["panel"]
    assert "of 4,096 bytes" in shown["checks"]
    assert "Ready for review" in shown["checks"]


def test_languages_by_their_codes_without_a_script(world: World) -> None:
    """Several at once, none twice; the phone is asked for by a button."""
    ann = world.browser(ANN)
    id_ = draft(ann)
    added = {**FORM, "more_languages": "de, pt_BR, de", "version": "0", "do": "add_language"}
    page = ann.post(f"/requests/{id_}", added)
    assert re.findall(r'name="languages\.\d\.locale" type="text" value="([^"]*)"', page.body) == ["de", "pt-BR"]
    shown = {**FORM, "version": page.field("version"), "show_platform": "android", "do": "show"}
    assert 'class="phone android lock"' in ann.post(f"/requests/{id_}", shown).body


def test_a_draft_is_tested_on_ones_own_phone(world: World) -> None:
    """A push for each variant and language, each named; nobody else can, and a text with a fault is sent to nobody."""
    ann, max_ = world.browser(ANN), world.browser("max@marketing.example.com")
    id_ = draft(ann)
    assert ann.post(f"/requests/{id_}", {**MANY, "version": "0", "do": "test"}).status == 409  # no phone yet
    ann.post("/devices", {**DEVICE, "token": "accept-" + "0" * 57})
    version = ann.get(f"/requests/{id_}").field("version")
    faulty = ann.post(f"/requests/{id_}", {**MANY, "title": "{{ oops", "version": version, "do": "test"})
    assert faulty.status == 422
    assert world.keys("batches/test/") == []
    version = ann.get(f"/requests/{id_}").field("version")
    assert max_.post(f"/requests/{id_}", {**MANY, "version": version, "do": "test"}).status == 403
    assert ann.post(f"/requests/{id_}", {**MANY, "version": version, "do": "test"}).status == 303
    s3, said = world.client("s3"), set()
    for key in world.keys("batches/test/"):
        written = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        message, user = written["campaign"]["message"], written["users"][0]
        said.add(message["translations"]["de"]["title"] if user.get("locale") else message["title"])
        assert written["campaign"]["test"] is True
    assert said == {
        "[Short Text · main language] Hi {{ first_name | default: 'there' }}",
        "[b · main language] Hi {{ first_name | default: 'there' }}",
        "[Short Text · de] Hallo",
        "[b · de] Hallo",
    }
    listed = parts(ann, MANY, id_)["tests"]
    assert "Test pushes of this draft" in listed
    for name in ("Short Text · main language", "Short Text · de", "b · main language", "b · de"):
        assert f"<li>{name}, " in listed
    assert "Test pushes" not in parts(max_, MANY, id_)["tests"]  # another's draft is not theirs to see


def test_one_text_alone_is_tested_as_it_is(world: World) -> None:
    """With one push no name is put before the title: it is what users get."""
    ann = world.browser(ANN)
    id_ = draft(ann)
    ann.post("/devices", {**DEVICE, "token": "accept-" + "0" * 57})
    assert ann.post(f"/requests/{id_}", {**FORM, "version": "0", "do": "test"}).status == 303
    (key,) = world.keys("batches/test/")
    written = json.loads(world.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert written["campaign"]["message"]["title"] == FORM["title"]


def test_each_users_own_time_from_the_form_to_the_batch_file(world: World) -> None:
    """Counts by moment, and of whom a zone is assumed; too late is a fault; approvers see lifted quiet hours in red."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world, form=LOCAL)
    times = parts(ann, {**LOCAL, "audience": "audiences/tinie.json"}, id_)["times"]
    assert "50 users (Asia/Tokyo)" in times
    assert "450 users (Europe/London)" in times
    assert "50 users without a time zone: Europe/London is assumed" in times
    late = {**LOCAL, "start": "2026-11-21T16:00", "within_h": "1", "audience": "audiences/tinie.json"}
    faults = json.loads(ann.post("/preview", late).body)["faults"]
    assert faults["if_past"].startswith("For 50 of 500 users this hour is past")
    page = bob.get(f"/requests/{id_}")
    assert "It lifts the quiet hours: phones may ring at any time of the night." in page.body
    assert "At 09:00 by each user&#39;s own clock on 1 Dec 2026" in page.body
    assert "450 users (Europe/London)" in page.body
    assert "It is sent at once" not in page.body
    mail = next(mail for mail in world.mailbox.mails if mail["to"] == BOB and "Please review" in mail["subject"])
    assert "At 09:00 by each user's own clock on 1 Dec 2026" in mail["text"]
    assert "At 09:00 by each user&#39;s own clock on 1 Dec 2026" in mail["html"]
    approval = {"content_hash": page.field("content_hash"), "unseen": "yes"}
    answer = bob.post(f"/requests/{id_}/approve", approval)
    assert answer.status == 303, re.findall(r"role=\"alert\">([^<]*)", answer.body)
    (key,) = world.batch_files()
    campaign = json.loads(world.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())["campaign"]
    assert campaign["local_time"] == {"at": "09:00", "fallback_timezone": "Europe/London", "date": "2026-12-01"}
    assert campaign["quiet"] is None
    assert "not_before" not in campaign


def test_what_is_asked_for_in_a_hold_waits_for_its_release(world: World) -> None:
    """The count and the tests of a draft, the tests of a request: each says what it waits for, and the page follows."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    for browser in (ann, bob):
        browser.post("/devices", {**DEVICE, "token": "accept-" + "0" * 57})
    reviewed, id_ = new_request(ann, world), draft(ann)
    ledger = DynamoLedger(world.client("dynamodb"), LEDGER, lambda: 1_763_700_000.0)
    ledger.set_hold("cat@example.com", "wrong prices")
    fields = {**FORM, "audience": world.put_audience("b.json"), "version": "0"}
    assert ann.post(f"/requests/{id_}", {**fields, "do": "count"}).status == 303
    assert ann.post(f"/requests/{id_}", {**fields, "version": "1", "do": "test"}).status == 303
    assert bob.post(f"/requests/{reviewed}/test", {"sample": "0"}).status == 303
    shown = parts(ann, fields, id_)
    for page in (ann.get(f"/requests/{id_}").body, shown["audience"]):
        assert "It is counted once the hold is released." in page
        assert "spinner" in page
    for page in (ann.get(f"/requests/{id_}").body, shown["tests"], bob.get(f"/requests/{reviewed}").body):
        assert "waits for the release" in page
        assert "asking…" not in page
    ledger.release_hold("cat@example.com")
    assert "Making and counting the audience…" in parts(ann, fields, id_)["audience"]
    assert "asking…" in bob.get(f"/requests/{reviewed}").body


LOCALES = (
    "af", "ar", "az", "bg", "bn", "ca", "cs", "da", "de", "el", "es", "et", "fa", "fi", "fr",
    "gu", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "kk", "km", "ko", "lt", "lv",
)  # fmt: skip


def long_texts(letter: str, chars: int) -> dict[str, str]:
    """A text of its own for each of 8 variants in each of 30 languages."""
    found = {**FORM, "title": "Hi", "body": "Main"}
    for n, locale in enumerate(LOCALES):
        found |= {f"languages.{n}.locale": locale, f"languages.{n}.title": f"Title {n}"}
    for v in range(8):
        found |= {f"variants.{v}.name": "abcdefgh"[v], f"variants.{v}.percent": "12.5"}
        for n in range(30):
            found[f"variants.{v}.languages.{n}.body"] = f"{v} {n} {letter * chars}"
    return found


def test_a_draft_in_thirty_languages_of_any_alphabet_is_kept(world: World) -> None:
    """As a browser sends it it has up to nine bytes for a letter: what counts is what is kept."""
    ann = world.browser(ANN)
    id_ = draft(ann)
    fields = {**long_texts("\u3042", 200), "version": "0", "do": "save"}
    assert len(urlencode(fields)) > 400_000
    assert ann.post(f"/requests/{id_}", fields).status == 303
    assert "7 29 " + "\u3042" * 200 in ann.get(f"/requests/{id_}").body


def test_what_was_typed_is_there_when_it_is_too_long(world: World) -> None:
    """The page that says so has all of it, names the longest text, and says that it is not saved; with every button."""
    ann = world.browser(ANN)
    id_ = draft(ann)
    ann.post(f"/requests/{id_}", {**FORM, "title": "Before", "version": "0", "do": "save"})
    before = world.items()
    fields = {**long_texts("x", 900), "version": "1"}
    fields["variants.2.languages.3.body"] += "longer"
    for button in ("save", "submit", "count", "test", "add_variant", "remove:variants.1"):
        answer = ann.post(f"/requests/{id_}", {**fields, "do": button})
        assert answer.status == 413, button
        kept = [text for name, text in fields.items() if name.endswith("body") and not name.startswith("variants.1.")]
        assert all(f">{text}</textarea>" in answer.body for text in kept), button
        assert "bytes, and at most 180,000 are kept. This is the longest, with 910." in answer.body
        assert re.search(r"<span[^>]* data-saved>Not saved</span>", answer.body)
        assert answer.field("version") == "1"
    said = json.loads(ann.post(f"/requests/{id_}", {**fields, "do": "autosave"}).body)
    assert said["refused"].startswith("Not saved. c in bg: Text: All texts together have ")
    shown = json.loads(ann.post("/preview", fields).body)
    assert "variants.2.languages.3.body" in shown["faults"]
    assert world.items() == before


def texts_taken_over(chars: int) -> dict[str, Any]:
    """Thirty languages with texts that each of eight variants takes over, because it has another title."""
    found = {**FORM, "title": "Hi", "body": "Main", "control_percent": ""}
    for n, locale in enumerate(LOCALES):
        found |= {f"languages.{n}.locale": locale, f"languages.{n}.title": "T", f"languages.{n}.body": "x" * chars}
    for v in range(8):
        found |= {f"variants.{v}.name": "abcdefgh"[v], f"variants.{v}.percent": "12.5", f"variants.{v}.title": f"{v}"}
        found |= {f"variants.{v}.languages.{n}.title": f"{v}" for n in range(30)}
    return found


def test_what_fits_as_a_draft_and_not_with_its_campaign(world: World) -> None:
    """The page says so at the longest text, and it stays a draft; shortened, it is approved and handed over."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_, key = draft(ann), world.put_audience()
    fields = {**texts_taken_over(1_600), "audience": key}
    fields["languages.3.body"] += "longer"
    count(ann, world, id_, {**fields, "version": "0"})
    version = ann.get(f"/requests/{id_}").field("version")
    answer = ann.post(f"/requests/{id_}", {**fields, "version": version, "do": "submit"})
    assert answer.status == 422
    assert re.search(
        r'data-fault="languages\.3\.body">Too much to be sent for review: .* and at most 379,\d{3} fit\.', answer.body
    )
    shown = json.loads(ann.post("/preview", fields).body)
    assert "Too much to be sent for review" in shown["faults"]["languages.3.body"]
    # Just within: with all that an approval adds the item is within DynamoDB's limit.
    fields = {**texts_taken_over(1_208), "audience": key, "version": ann.get(f"/requests/{id_}").field("version")}
    assert ann.post(f"/requests/{id_}", {**fields, "do": "submit"}).status == 303
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 303
    assert world.batch_files() == [f"batches/{id_}.json"]
    assert max(len(json.dumps(item)) for item in world.items()) > 370_000


def test_a_field_that_is_too_long_is_named(world: World) -> None:
    """With what was typed in it, on the draft's own page; nobody else's."""
    ann = world.browser(ANN)
    id_ = draft(ann)
    fields = {**FORM, "body": "x" * 5_001, "version": "0", "do": "save"}
    answer = ann.post(f"/requests/{id_}", fields)
    assert answer.status == 413
    assert "x" * 5_001 in answer.body
    assert "5,001 characters are too many: at most 5,000 are kept." in answer.body
    assert world.browser("x@marketing.example.com").post(f"/requests/{id_}", fields).body.count("x" * 5_001) == 0
