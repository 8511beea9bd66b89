"""What must never happen: every way around the rules is refused, and nothing is written."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from botocore.exceptions import ConnectTimeoutError

from approval.clients import LINK_MAIL_TIMEOUTS_S
from approval.sign_in import ANSWER_S, COOKIE
from notifier.model.audience_counts import InvalidPlace
from tests.approval_site import (
    ANN,
    BOB,
    CAT,
    EVE,
    FORM,
    HOST,
    STAGE,
    Browser,
    World,
    count,
    decision,
    moto_server,
    new_request,
    rest_event,
)

SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def world(endpoint: str) -> World:
    return World(endpoint)


def posts(id_: str) -> dict[str, dict[str, str]]:
    """Every action there is."""
    return {
        "/requests": {},
        f"/requests/{id_}": {**FORM, "version": "1", "do": "save"},
        **{f"/requests/{id_}/{step}": {} for step in ("take_back", "withdraw", "copy", "remind", "finish", "test")},
        f"/requests/{id_}/approve": {"content_hash": "0" * 64},
        f"/requests/{id_}/seen": {"content_hash": "0" * 64, "text": "0"},
        f"/requests/{id_}/newer": {},
        f"/requests/{id_}/reject": {"comment": "no"},
        f"/requests/{id_}/comment": {"comment_text": "c"},
        f"/requests/{id_}/tag": {"tags": "t"},
        f"/requests/{id_}/untag": {"tag": "t"},
        **{f"/requests/{id_}/{step}": {} for step in ("archive", "unarchive")},
        **{f"/requests/{id_}/{step}": {} for step in ("pause", "resume", "cancel", "conversions")},
        f"/requests/{id_}/decide_winner": {"arm": "control"},
        f"/requests/{id_}/template": {"name": "t"},
        "/templates/t1/start": {},
        "/templates/t1/remove": {},
        "/schedules": {"name": "nudge", "text": "{}", "before": ""},
        "/schedules/nudge/seen": {"content_hash": "0" * 64, "text": "0"},
        "/schedules/nudge/approve": {"hash": "0" * 64, "text": "0"},
        **{f"/schedules/nudge/{step}": {"day": "2026-12-01"} for step in ("now", "ready")},
        **{f"/schedules/nudge/{step}": {} for step in ("pause", "resume", "keep", "decide", "preview")},
        "/hold": {"reason": "r"},
        "/release": {},
        "/people/cost": {"user_id": "u1"},
        "/people/find": {"user_id": "u1"},
        "/people/erase": {"user_ids": "u1", "again": "u1"},
        "/people/j1/export": {},
        "/preview": dict(FORM),
        "/devices": {"platform": "ios", "environment": "production", "gateway": "", "token": "t" * 64},
        "/devices/d1/remove": {},
        "/sign-out": {},
    }


def test_no_action_without_a_session(world: World) -> None:
    """The authorizer says 401; and the function, reached without it, too."""
    id_ = new_request(world.browser(ANN), world)
    before = world.items()
    signed_out = world.browser()
    for path, fields in posts(id_).items():
        assert signed_out.post(path, fields, csrf="x").status == 401, path
        event = rest_event("POST", path, body="csrf=x")
        assert world.straight(event).status == 401, path
    for path in ("/", "/requests", f"/requests/{id_}", f"/requests/{id_}/status", "/devices"):
        for answer in (signed_out.get(path), world.straight(rest_event("GET", path))):
            assert answer.status == 303, path
            assert answer.headers["location"] == f"{STAGE}/sign-in?next={quote(path, safe='')}"
            assert answer.body == ""
    assert world.items() == before


@pytest.mark.parametrize("token", ["0" * 40, *(pytest.param(one, marks=pytest.mark.slow) for one in ("", "ä"))])
def test_no_action_without_ones_own_csrf_token(world: World, token: str) -> None:
    """Missing, guessed or another person's: refused, nothing written."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    foreign = bob.csrf()
    before = world.items()
    for path, fields in posts(id_).items():
        for wrong in (token, foreign):
            assert ann.post(path, fields, csrf=wrong).status == 403, path
    assert world.items() == before


def test_another_session_of_the_same_person_has_another_token(world: World) -> None:
    """The token is bound to the session, not to the name."""
    one, two = world.browser(ANN), world.browser(ANN)
    assert one.csrf() != two.csrf()
    assert one.post("/requests", csrf=two.csrf()).status == 403


def test_no_form_from_another_site(world: World) -> None:
    """Even with the right token."""
    ann = world.browser(ANN)
    body = f"csrf={ann.csrf()}"
    for headers in ({"Origin": "https://evil.com"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        assert ann.raw("POST", "/requests", body, headers).status == 403
    assert (
        ann.raw("POST", "/requests", body, {"Origin": f"https://{HOST}", "Sec-Fetch-Site": "same-origin"}).status == 303
    )


def test_no_action_with_the_other_role(world: World) -> None:
    """Approvers do not ask, requesters do not decide, strangers do neither."""
    other = "max@marketing.example.com"
    ann, bob, max_ = world.browser(ANN), world.browser(BOB), world.browser(other)
    id_ = new_request(ann, world)
    seen = decision(bob, id_)
    draft = ann.post("/requests").location
    before = world.items()
    for path, fields in (
        ("/requests", {}),
        (f"/requests/{id_}/copy", {}),
        (f"/requests/{id_}/template", {"name": "t"}),
        ("/templates/t1/start", {}),
        ("/preview", {}),
        *((draft, {**FORM, "version": "0", "do": step}) for step in ("save", "test", "show", "add_language", "take")),
        (f"{draft}/withdraw", {}),
        (f"/requests/{id_}/take_back", {}),
        (f"/requests/{id_}/withdraw", {}),
        (f"/requests/{id_}/remind", {}),
    ):
        assert bob.post(path, fields).status == 403, path
    for path, fields in (
        (f"/requests/{id_}/approve", seen),
        (f"/requests/{id_}/reject", {"comment": "no"}),
        (f"/requests/{id_}/test", {}),
        (f"/requests/{id_}/seen", seen),
        (f"/requests/{id_}/newer", {}),
        (f"/requests/{id_}/comment", {"comment_text": "c"}),
        (f"/requests/{id_}/tag", {"tags": "t"}),
        (f"/requests/{id_}/untag", {"tag": "t"}),
        (f"/requests/{id_}/archive", {}),
        (f"/requests/{id_}/unarchive", {}),
        (f"/requests/{id_}/take_back", {}),
        (f"/requests/{id_}/withdraw", {}),
        (f"/requests/{id_}/pause", {}),
        (f"/requests/{id_}/conversions", {}),
        (f"/requests/{id_}/decide_winner", {"arm": "control"}),
        (f"/requests/{id_}/finish", {}),
        *((draft, {**FORM, "version": "0", "do": step}) for step in ("save", "test", "show", "add_language", "take")),
    ):
        assert max_.post(path, fields).status == 403, path
    assert world.items() == before
    assert world.batch_files() == []


def test_four_eyes(world: World) -> None:
    """Ann is an approver too, and decides neither way on her own request."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    seen = decision(world.browser(BOB), id_)
    assert "content_hash" not in ann.get(f"/requests/{id_}").body
    before = world.items()
    assert ann.post(f"/requests/{id_}/approve", seen).status == 403
    assert ann.post(f"/requests/{id_}/reject", {"comment": "no"}).status == 403
    assert world.items() == before


def test_two_addresses_of_one_person_are_one_person(endpoint: str) -> None:
    """Tags under a domain give no second pair of eyes, not in a session from before either, and no new session."""
    world = World(endpoint, requesters=("@x.org",), approvers=("@x.org",))

    def with_session_of_before(email: str) -> Browser:
        browser = world.browser()
        browser.cookie = f"{COOKIE}={world.app.authenticator.begin_session(email, int(world.clock.now.timestamp()))}"
        return browser

    id_ = new_request(world.browser("eve@x.org"), world, form={**FORM, "approvers": "dan@x.org"}, users=5000)
    twin, dan, dans_twin = map(with_session_of_before, ("eve+a@x.org", "dan@x.org", "dan+b@x.org"))
    shown = twin.get(f"/requests/{id_}")
    assert shown.status == 200
    assert "Your decision" not in shown.body
    hash_ = decision(dan, id_)
    assert twin.post(f"/requests/{id_}/approve", hash_).status == 403
    assert dan.post(f"/requests/{id_}/approve", hash_).status == 303
    assert dans_twin.post(f"/requests/{id_}/approve", hash_).status == 303
    assert world.batch_files() == []
    # The requester's own steps are theirs under either address: a request of before is not lost.
    assert twin.post(f"/requests/{id_}/take_back").status == 303
    mails = len(world.mailbox.mails)
    world.browser().post("/sign-in", {"email": "dan+c@x.org"})
    assert len(world.mailbox.mails) == mails


def test_nobody_steers_a_run_that_is_not_theirs(world: World) -> None:
    """Requesters steer their own runs only."""
    ann, bob, other = world.browser(ANN), world.browser(BOB), world.browser("max@marketing.example.com")
    id_ = new_request(ann, world)
    bob.post(f"/requests/{id_}/approve", decision(bob, id_))
    asked = len(world.control.events)
    assert other.post(f"/requests/{id_}/cancel").status == 403
    assert len(world.control.events) == asked


def test_sign_in_tells_nobody_who_is_known(world: World) -> None:
    """The same answer for a known address, an unknown one and nonsense; a mail for the first only."""
    answers = {
        world.browser().post("/sign-in", {"email": email, "next": "/requests"}, csrf="").body
        for email in (ANN, EVE, "nonsense", "", f"{ANN}\nBcc: {EVE}")
    }
    assert len(answers) == 1
    assert [mail["to"] for mail in world.mailbox.mails] == [ANN]


@pytest.mark.parametrize("mail_s", [0.05, 0.8, 1.6])
def test_sign_in_takes_the_same_time_for_everybody(world: World, mail_s: float) -> None:
    """However long the mail takes: a known address, one asked for too often, an unknown one and nonsense."""
    world.mailbox.before = lambda: world.watch.sleep(mail_s)
    for email in (ANN, *[BOB] * 6, EVE, "nonsense"):
        began_s = world.watch.seconds
        world.browser().post("/sign-in", {"email": email}, csrf="")
        assert world.watch.seconds - began_s == pytest.approx(ANSWER_S), email
    assert [mail["to"] for mail in world.mailbox.mails] == [ANN, *[BOB] * 5]


def test_a_link_that_could_not_be_mailed_looks_the_same(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Same page, same time; the log says so, without the address."""

    def refuse() -> None:
        raise ConnectTimeoutError(endpoint_url="https://email.eu-west-1.amazonaws.com")

    world.mailbox.before = refuse
    answers = {world.browser().post("/sign-in", {"email": email}, csrf="").body for email in (ANN, EVE)}
    assert len(answers) == 1
    assert world.watch.seconds == pytest.approx(2 * ANSWER_S)
    assert [record.message for record in caplog.records] == ["mail_failed", "link_unsent"]
    assert {vars(record)["code"] for record in caplog.records} == {"NoAnswer"}
    assert ANN not in str([vars(record) for record in caplog.records])


def test_the_mail_is_given_up_before_the_answer() -> None:
    """Both its timeouts together leave time for the rest."""
    assert sum(LINK_MAIL_TIMEOUTS_S) <= ANSWER_S - 0.5


def test_links_are_asked_for_a_few_times_only(world: World) -> None:
    """Five in a quarter of an hour for one address; then the page says so, in the same way to a stranger."""
    browser = world.browser()
    answers = [browser.post("/sign-in", {"email": ANN, "next": ""}, csrf="") for _ in range(8)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 3
    assert "Ask again in 15 minutes" in answers[-1].body
    stranger = [browser.post("/sign-in", {"email": EVE, "next": ""}, csrf="") for _ in range(8)]
    assert [answer.body for answer in stranger] == [answer.body for answer in answers]
    assert len(world.mailbox.mails) == 5
    world.clock.forward(minutes=16)
    browser.post("/sign-in", {"email": ANN, "next": ""}, csrf="")
    assert len(world.mailbox.mails) == 6


def test_one_source_cannot_ask_for_everybody(world: World) -> None:
    """Thirty in a quarter of an hour, whatever the addresses."""
    browser = world.browser()
    for n in range(40):
        browser.post("/sign-in", {"email": f"u{n}@marketing.example.com", "next": ""}, csrf="")
    assert len(world.mailbox.mails) == 30


def test_a_link_works_once(world: World) -> None:
    """Opening it changes nothing, however often; pressing the button signs in one browser."""
    world.browser().post("/sign-in", {"email": ANN, "next": "/devices"}, csrf="")
    link = world.mailbox.link(ANN)
    one, two = world.browser(), world.browser()
    for _ in range(3):
        assert one.get(link).status == 200
        assert one.cookie == ""
    t = one.get(link).field("t")
    assert one.post("/link", {"t": t}, csrf="").location == "/devices"
    assert two.post("/link", {"t": t}, csrf="").status == 410
    assert two.get(link).status == 410
    assert two.cookie == ""


def test_a_link_is_over_after_a_quarter_of_an_hour(world: World) -> None:
    """And an approver's after a day."""
    browser = world.browser()
    browser.post("/sign-in", {"email": ANN, "next": ""}, csrf="")
    link = world.mailbox.link(ANN)
    world.clock.forward(minutes=15)
    assert browser.get(link).status == 410
    new_request(world.browser(ANN), world)
    review = world.mailbox.link(BOB)
    world.clock.forward(hours=23, minutes=59)
    assert browser.get(review).status == 200
    world.clock.forward(minutes=1)
    assert browser.get(review).status == 410


def test_a_forged_link_or_cookie_is_nobodys(world: World) -> None:
    """Whatever the secret, without our signature it is not even looked up."""
    browser = world.browser()
    world.browser().post("/sign-in", {"email": ANN, "next": ""}, csrf="")
    signed = world.mailbox.link(ANN).partition("t=")[2]
    secret = signed.partition(".")[0]
    for forged in (secret, f"{secret}.x", signed[:-1], signed + "x", "", "é", "." * 500):
        assert browser.post("/link", {"t": forged}, csrf="").status == 410
    good = world.browser(ANN)
    for forged in (good.cookie[:-2], f"{COOKIE}=x.y", f"{COOKIE}=", "session=x", f"{COOKIE}=\x00;;=,"):
        browser.cookie = forged
        assert browser.get("/requests").status == 303


def test_a_link_is_not_a_session_and_a_session_no_link(world: World) -> None:
    """They are signed apart."""
    ann = world.browser(ANN)
    world.browser().post("/sign-in", {"email": BOB, "next": ""}, csrf="")
    other = world.browser()
    other.cookie = f"{COOKIE}={world.mailbox.link(BOB).partition('t=')[2]}"
    assert other.get("/requests").status == 303
    assert world.browser().post("/link", {"t": ann.cookie.partition("=")[2]}, csrf="").status == 410


def test_somebody_elses_link_does_not_change_who_one_is(world: World) -> None:
    """A requester who was passed an approver's link cannot become the approver by mistake, and the link stays good."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    link = world.mailbox.link(BOB)
    t = ann.get(link).field("t")
    answer = ann.post("/link", {"t": t})
    assert (answer.status, "somebody else" in answer.body) == (403, True)
    assert "sign-out" in ann.get("/requests").body
    assert ann.post(f"/requests/{id_}/approve", {"content_hash": "x"}).status == 403
    assert world.browser().post("/link", {"t": t}, csrf="").status == 303


def test_who_wants_to_be_the_other_one_is_signed_out_first(world: World) -> None:
    """By a button that says so; not by a form of another site. The old session is over for good."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    old = ann.cookie
    page = ann.get(world.mailbox.link(BOB))
    assert f"Sign out, and in as {BOB}" in page.body
    fields = {"t": page.field("t"), "next": page.field("next"), "instead": "yes"}
    foreign = ann.raw("POST", "/link", urlencode(fields), {"Sec-Fetch-Site": "cross-site"})
    assert (foreign.status, ann.cookie) == (403, old)
    assert ann.post("/link", fields, csrf="").location == f"/requests/{id_}"
    assert BOB in ann.get("/requests").body
    ann.cookie = old
    assert ann.get("/requests").status == 303


def test_a_used_link_leads_on_who_is_signed_in(world: World) -> None:
    """To the page that it was for, on our own site only."""
    id_ = new_request(world.browser(ANN), world)
    link = world.mailbox.link(BOB)
    bob = world.browser()
    page = bob.get(link)
    bob.post("/link", {"t": page.field("t"), "next": page.field("next")})
    assert bob.get(link).location == f"/requests/{id_}"
    assert bob.get("/link", t="used", next="https://evil.com").location == "/requests"
    assert f'name="next" value="/requests/{id_}"' in world.browser().get(link).body


def test_signing_out_ends_the_session_for_good(world: World) -> None:
    """Also for a cookie that was copied before."""
    ann = world.browser(ANN)
    stolen = world.browser()
    stolen.cookie = ann.cookie
    assert ann.post("/sign-out").status == 303
    assert ann.cookie == ""
    assert stolen.get("/requests").status == 303


def test_a_session_ends_after_half_a_day(world: World) -> None:
    """By the server's clock."""
    ann = world.browser(ANN)
    world.clock.forward(hours=12)
    assert ann.get("/requests").status == 303


def test_who_loses_the_role_loses_the_session(world: World, endpoint: str) -> None:
    """The lists are looked at in every request."""
    import msgspec

    from approval.app import App
    from approval.config import Settings

    max_ = world.browser("max@marketing.example.com")
    fewer: Settings = msgspec.structs.replace(world.settings, requesters=(ANN,))
    world.app = App(fewer, world.client, world.clock, key=b"k" * 32, send_mail=world.mailbox.send)
    assert max_.get("/requests").status == 303


def test_the_cookie_is_for_this_host_and_no_script(world: World) -> None:
    """HttpOnly, Secure, SameSite, and bound to the host by its name."""
    browser = world.browser()
    browser.post("/sign-in", {"email": ANN, "next": ""}, csrf="")
    t = browser.get(world.mailbox.link(ANN)).field("t")
    header = browser.post("/link", {"t": t}, csrf="").headers["set-cookie"]
    assert header.startswith("__Host-")
    for attribute in ("HttpOnly", "Secure", "SameSite=Lax", "Path=/"):
        assert attribute in header
    assert "Domain" not in header


def test_script_in_every_field_stays_text(world: World) -> None:
    """In the form, the list, the review, the audit trail, the preview and the mails."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    key = world.put_audience("<script>x</script>.json")
    id_ = ann.post("/requests").location.rpartition("/")[2]
    names = (
        "name",
        "experiment",
        "title",
        "body",
        "image_url",
        "deep_link",
        "control_percent",
        "timezone",
        "start",
        "latest",
        "per_second",
    )
    rows = [f"languages.0.{name}" for name in ("locale", "title", "body", "image_url", "deep_link")]
    rows += [f"variants.0.{name}" for name in ("name", "percent", "title", "body", "image_url", "deep_link")]
    everywhere = dict.fromkeys((*names, *rows), SCRIPT)
    page = ann.post(f"/requests/{id_}", {**everywhere, "audience": key, "version": "0", "do": "submit"})
    chosen = {"show_variant": SCRIPT, "show_language": SCRIPT, "show_platform": SCRIPT, "sample": SCRIPT}
    shown = ann.post(f"/requests/{id_}", {**everywhere, **chosen, "version": page.field("version"), "do": "show"})
    added = {"version": shown.field("version"), "more_languages": SCRIPT, "do": "add_language"}
    pages = [shown.body, ann.post(f"/requests/{id_}", {**everywhere, **added}).body]
    pages += [page.body, ann.get(f"/requests/{id_}").body, ann.get("/requests", q=SCRIPT, state=SCRIPT).body]
    scheduled = {"sources.0.schedule": SCRIPT, "sources.0.version": SCRIPT}
    taken = {**everywhere, **scheduled, "version": page.field("version"), "do": "choose"}
    pages.append(ann.post(f"/requests/{id_}", taken).body)
    # Its faults are put in as text.
    preview = json.loads(ann.post("/preview", {**everywhere, **scheduled, "audience": SCRIPT}).body)
    pages += list(preview["parts"].values())
    pages.append(bob.get("/sign-in", next=SCRIPT).body)
    harmless = {
        **FORM,
        "name": SCRIPT,
        "title": SCRIPT.replace("{{ 7*7 }}", ""),
        "body": SCRIPT.replace("{{ 7*7 }}", ""),
    }
    samples = ({"user_id": SCRIPT, "attributes": {SCRIPT: SCRIPT}, "platform": "ios", "token": "abcd…"},)
    found = {
        "samples": samples,
        "locales": {SCRIPT: 1},
        "timezones": {SCRIPT: 1},
        "attributes": {SCRIPT: 1, "first_name": 500},
        "longest": {SCRIPT: 9},
        "invalid": {SCRIPT: 1},
        "invalid_first": (InvalidPlace(SCRIPT, 1, SCRIPT),),
        "null_words": {"first_name": {SCRIPT: 1}},
    }
    count(ann, world, id_, {**harmless, "audience": key}, **found)
    answer = ann.post(f"/requests/{id_}", {**harmless, "audience": key, "version": "1", "do": "submit"})
    assert answer.status == 303, answer.body
    bob.post(
        "/devices",
        {"label": SCRIPT[:60], "platform": "ios", "environment": "production", "gateway": "", "token": "t" * 64},
    )
    bob.post(f"/requests/{id_}/test")
    pages += [bob.get(f"/requests/{id_}").body, bob.get("/devices").body, bob.get("/requests").body]
    bob.post(f"/requests/{id_}/reject", {"comment": SCRIPT})
    pages += [ann.get(f"/requests/{id_}").body, ann.get(f"/requests/{id_}/status").body]
    pages += [mail["html"] for mail in world.mailbox.mails]
    for body in pages:
        scripts = re.findall(r"<script[^>]*>", body)
        assert all(re.search(r"/static/(script|composer|decision)\.js", tag) for tag in scripts), scripts
        assert "<img src=x" not in body
        assert not re.search(r"<[^>]*\sonerror=", re.sub(r'"[^"]*"', '""', body))
        assert "49" not in re.findall(r"&gt;(\d\d)(?=&|<|\")", body)


def test_pages_have_no_inline_script_or_style(world: World) -> None:
    """The policy forbids them; so there are none, nor handlers, nor anything from another host."""
    folder = Path(__file__).parents[2] / "approval" / "pages"
    for template in folder.glob("*.html"):
        text = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*src=)", text), template.name
        assert not re.search(r"(src|href)=\"(https?:)?//", text), template.name
    for style in (path.read_text() for path in folder.glob("*.css")):
        assert "url(" not in style
        assert "@import" not in style


@pytest.mark.parametrize(
    "path", ["/sign-in", "/link?t=x", "/requests", "/nothing", "/static/style.css", "/static/none.css"]
)
def test_headers_of_every_answer(world: World, path: str) -> None:
    """Also of those that refuse."""
    ann = world.browser(ANN)
    for answer in (
        ann.get(path),
        world.browser().raw("DELETE", path, None, {}),
        ann.raw("POST", path, "x=" + "1" * 300_000, {}),
    ):
        if answer.status == 401 and not answer.headers:
            continue  # API Gateway's own
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for part in ("script-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
            assert part in policy
        assert answer.headers["strict-transport-security"].startswith("max-age=63072000")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] in ("same-origin", "no-referrer")


def test_pages_are_not_cached_and_static_files_are(world: World) -> None:
    """Behind a session nothing stays in a shared computer's cache."""
    ann = world.browser(ANN)
    assert ann.get("/requests").headers["cache-control"] == "no-store"
    assert "immutable" in ann.get("/static/style.css").headers["cache-control"]


GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def test_what_is_compressed(world: World) -> None:
    """Files, and the pages of requests, where the browser takes it; no page with words from its address (BREACH)."""
    ann, takes = world.browser(ANN), GZIP
    plain, packed = ann.get("/static/composer.js"), ann.raw("GET", "/static/composer.js", None, takes)
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    assert packed.body == plain.body
    draft, id_ = ann.post("/requests").location, new_request(ann, world)
    for path in (draft, f"/requests/{id_}"):
        assert ann.raw("GET", path, None, takes).headers["content-encoding"] == "gzip", path
    for path in (
        "/requests",
        "/sign-in",
        "/devices",
        f"/requests/{id_}/status",
        f"{draft}/left-out",
        "/static/none.js",
    ):
        assert "content-encoding" not in ann.raw("GET", path, None, takes).headers, path


def test_nothing_of_the_address_is_in_a_compressed_page(world: World) -> None:
    """Whatever is asked with it: its length says nothing about a guess."""
    ann = world.browser(ANN)
    names = ("sample", "text", "look", "done", "unsent", "q", "mine", "person", "before", "show_platform", "zebra")
    for path in (ann.post("/requests").location, f"/requests/{new_request(ann, world)}"):
        # A number is read where one is expected, and another one than there is must not be written back either.
        for asked in ("&".join(f"{name}=zebra-{name}" for name in names), "sample=987654321&text=987654321"):
            answer = ann.raw("GET", f"{path}?{asked}", None, GZIP)
            assert answer.headers["content-encoding"] == "gzip"
            assert "zebra" not in answer.body
            assert "987654321" not in answer.body


def test_the_token_is_another_text_on_each_page(world: World) -> None:
    """So that no length of a compressed page gives it away; each of them is taken, and none but this session's."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    tokens = {ann.csrf() for _ in range(3)}
    assert len(tokens) == 3
    assert not set.intersection(*({token[n : n + 8] for n in range(len(token) - 7)} for token in tokens))
    for token in tokens:
        assert bob.post("/requests", csrf=token).status == 403
        assert ann.post("/requests", csrf=token[:-1]).status == 403
        assert ann.post("/requests", csrf=token).status == 303


MALFORMED = {
    "too large": ("x=" + "1" * 1_100_000, {}, 413),
    "json": ('{"a": 1}', {"Content-Type": "application/json"}, 415),
    "multipart": ("--x", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
    "no type": ("a=b", {"Content-Type": ""}, 415),
    "bad utf-8": ("name=%ff%fe", {}, 400),
    "not ascii": ("name=ä", {}, 400),
    "too many fields": ("&".join(f"f{n}=" for n in range(2000)), {}, 400),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_bodies_are_refused(world: World, case: str) -> None:
    """With the right status, and nothing written."""
    body, headers, status = MALFORMED[case]
    ann = world.browser(ANN)
    before = world.items()
    for path in ("/requests", "/preview", "/sign-in", "/link"):
        assert ann.raw("POST", path, body, headers).status == status, path
    assert world.items() == before


def test_only_a_drafts_form_may_be_large(world: World) -> None:
    """It has up to 30 languages of 8 variants, and is shown again where it is too long; no other form has so much."""
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    for path in ("/requests", f"/requests/{id_}/comment", "/schedules", "/sign-in", "/link"):
        assert ann.raw("POST", path, "x=" + "1" * 200_001, {}).status == 413, path


def test_a_form_beyond_measure_is_refused(world: World) -> None:
    """Endless fields, too many variants, strange versions."""
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    before = world.items()
    for fields in ({"title": "x" * 20_001}, {f"variants.{n}.name": "a" for n in range(9)}):
        assert ann.post(f"/requests/{id_}", {**FORM, "version": "0", **fields}).status == 400
    for version in ("", "-1", "x", "9" * 50, "٣"):
        assert ann.post(f"/requests/{id_}", {**FORM, "version": version}).status == 409
    assert world.items() == before


def test_a_get_never_changes_anything(world: World) -> None:
    """Not even on the paths of the actions: it leads to the page. That an approver has opened it is noted, once."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    bob.get(f"/requests/{id_}")
    (noted,) = [one for one in world.items() if one["sk"]["S"].startswith("seen#")]
    assert "texts" not in noted  # no text counts as looked at by it
    before, asked = world.items(), len(world.control.events)
    for path in posts(id_):
        for browser in (ann, bob):
            assert browser.get(path).status in (200, 303, 404), path
    assert world.items() == before
    assert len(world.control.events) == asked
    assert world.batch_files() == []


def test_audiences_are_taken_from_their_folder_only(world: World) -> None:
    """No other object can be named, pinned or sent."""
    ann = world.browser(ANN)
    world.client("s3").put_object(Bucket="campaigns", Key="rows/secret.json", Body=b"[]")
    id_ = ann.post("/requests").location.rpartition("/")[2]
    for key in ("rows/secret.json", "../rows/secret.json", "audiences/../rows/secret.json"):
        version = ann.get(f"/requests/{id_}").field("version")
        answer = ann.post(f"/requests/{id_}", {**FORM, "audience": key, "version": version, "do": "submit"})
        assert answer.status == 422


def test_a_draft_is_its_writers(world: World) -> None:
    """Another requester may look, and has no form to write in, nor gets one by copying it: before a review or after."""
    ann, other = world.browser(ANN), world.browser("max@marketing.example.com")
    path = ann.post("/requests").location
    assert "request-form" not in other.get(path).body
    assert "Copy into a new request" not in other.get(path).body
    assert other.post(f"{path}/copy").status == 403
    assert ann.post(f"{path}/copy").status == 303
    id_ = new_request(ann, world)
    assert other.post(f"/requests/{id_}/copy").status == 303
    assert ann.post(f"/requests/{id_}/take_back").status == 303
    assert other.post(f"/requests/{id_}/copy").status == 403


def test_the_tests_of_a_draft_are_its_writers(world: World) -> None:
    """Another requester does not see which variants it has, nor the names of the writer's phones."""
    ann, other = world.browser(ANN), world.browser("max@marketing.example.com")
    device = {
        "label": "Ann's own phone",
        "platform": "ios",
        "environment": "production",
        "gateway": "",
        "token": "t" * 64,
    }
    ann.post("/devices", device)
    path = ann.post("/requests").location
    variants = {f"variants.{n}.{key}": value for n, name in enumerate(("hidden-a", "hidden-b"))
                for key, value in (("name", name), ("percent", "45"))}  # fmt: skip
    assert ann.post(path, {**FORM, **variants, "version": "0", "do": "test"}).status == 303
    assert "hidden-a" in ann.get(path).body
    for answer in (other.get(path), other.get(f"{path}/status")):
        assert answer.status == 200
        assert "hidden-a" not in answer.body
        assert "own phone" not in answer.body
        assert "data-live" not in answer.body


@pytest.mark.parametrize(
    "sample", ["9" * 5000, "²", *(pytest.param(one, marks=pytest.mark.slow) for one in ("-1", "x", "7"))]
)
def test_a_sample_that_there_is_not(world: World, sample: str) -> None:
    """Whatever the address says, the page is shown, with the first user."""
    id_ = new_request(world.browser(ANN), world)
    answer = world.browser(BOB).get(f"/requests/{id_}", sample=sample)
    assert (answer.status, "Ann&lt;b&gt;" in answer.body) == (200, True)


def test_hidden_characters_are_shown_to_the_approver(world: World) -> None:
    """What turns the direction of a text, or has no width, is marked on the page and in the mail."""
    form = {**FORM, "title": "pay\u202egnp.exe", "deep_link": "https://ex\u200bample.com/a"}
    id_ = new_request(world.browser(ANN), world, form=form)
    page = world.browser(BOB).get(f"/requests/{id_}").body
    assert 'pay<mark title="right-to-left override">U+202E</mark>gnp.exe' in page
    assert 'https://ex<mark title="zero width space">U+200B</mark>ample.com/a' in page
    assert any("pay[U+202E]gnp.exe" in mail["text"] for mail in world.mailbox.mails)


def test_no_token_and_no_secret_in_pages_or_logs(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Device tokens, links and sessions never show, once they were given."""
    bob = world.browser(BOB)
    token = "devicetoken" + "f" * 50
    id_ = new_request(world.browser(ANN), world)
    bob.post("/devices", {"label": "x", "platform": "ios", "environment": "production", "gateway": "", "token": token})
    bob.post(f"/requests/{id_}/test")
    pages = [bob.get(path).body for path in ("/devices", f"/requests/{id_}", f"/requests/{id_}/status")]
    logs = "".join(capsys.readouterr())
    secrets = [token, bob.cookie.partition("=")[2], world.mailbox.link(BOB).partition("t=")[2]]
    for secret in secrets:
        assert all(secret not in text for text in (*pages, logs))
    assert "device" in pages[0].lower()


def test_nothing_is_redirected_off_the_app(world: World) -> None:
    """After signing in, wherever the link was said to lead."""
    for wish in ("https://evil.com", "//evil.com", "/\\evil.com", f"{STAGE}//evil.com"):
        browser = world.browser()
        world.clock.forward(minutes=16)
        browser.post("/sign-in", {"email": CAT, "next": wish}, csrf="")
        t = browser.get(world.mailbox.link(CAT)).field("t")
        assert browser.post("/link", {"t": t}, csrf="").headers["location"] == f"{STAGE}/requests"


def test_who_has_no_session_and_one_who_has(world: World) -> None:
    """The authorizer allows this call only; its context has name and token. Without a session only GET is allowed."""
    ann: Browser = world.browser(ANN)
    arn = "arn:aws:execute-api:eu-west-1:1:api/prod/POST/requests/1"
    event = {"headers": {"cookie": ann.cookie}, "methodArn": arn, "httpMethod": "POST"}
    allowed = world.app.authorize(event)
    assert allowed["policyDocument"]["Statement"][0]["Resource"] == arn
    assert set(allowed["context"]) == {"email", "csrf"}
    for headers in ({}, None, {"Cookie": "x"}):
        for method in ("POST", "DELETE", "PUT"):
            with pytest.raises(Exception, match=r"^Unauthorized$"):
                world.app.authorize({**event, "headers": headers, "httpMethod": method})
        assert world.app.authorize({**event, "headers": headers, "httpMethod": "GET"})["context"] == {}
