"""Words of the approval pages: names of variants and copies, gateways' reasons, characters that nobody sees."""

import re
import time
from datetime import timedelta

import msgspec
import pytest

from approval.arm_names import arm_name, name_of_copy
from approval.form_campaign import kept_faults, read_campaign_of
from approval.hidden_characters import marked, marked_text
from approval.left_out import WORDS
from approval.pages import iso_tag
from approval.reasons import _LEFT_OUT, RunReason, reason_in_words, run_reason, without_commands
from notifier.audience.foreign_formats import TABLE
from notifier.gateway.apns import verdict as apns
from notifier.gateway.carrier import TOO_LARGE
from notifier.gateway.fcm import verdict as fcm
from notifier.model import account
from notifier.model.exchange import NoAnswer
from notifier.model.kept_days import KEPT_BY_DEFAULT
from notifier.model.local_time import QUIET, TOO_LATE
from notifier.sending.carrier import DRY_RUN
from notifier.sending.withheld_refusals import STOPS
from operations.cli import app
from operations.cli.left_out import WORDS as CLI_WORDS
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
    assert reason_in_words("BrandNewReason") == "brand new reason"


GATEWAYS_REASONS = sorted(
    {
        *fcm.MEANINGS, *fcm.STATUS_WORDS, *(f"http_{status}" for status in (*fcm.STATUSES, *apns.STATUSES, 418)),
        fcm.BAD_TOKEN, *apns.MEANINGS, *NoAnswer, TOO_LARGE.reason or "", TOO_LATE, DRY_RUN,
        "QUOTA_EXCEEDED device project", "http_403 BadTopic", "http_418 NewCode",
    }
)  # fmt: skip


@pytest.mark.parametrize("reason", GATEWAYS_REASONS)
def test_every_reason_that_a_row_may_have_has_words(reason: str) -> None:
    """No code of Google's or Apple's is left over, also not as words."""
    words = reason_in_words(reason)
    code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", reason).replace("_", " ").lower()
    assert words != code
    assert not re.search(r"_|[A-Z]{3}|http", words)


KEY = "with renewed credentials too; fcm secret a_b: is it"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            f"credentials_refused: InvalidProviderToken by apns, {KEY}",
            "Apple refuses our key, also after it was read again",
        ),
        ("credentials_refused: fcm secret my_app: private_key is odd", "the key for Google or Apple cannot be used"),
        (
            "PERMISSION_DENIED: fcm refuses everything until this is fixed",
            "Google refuses everything until this is corrected: our key may not send for this app",
        ),
        (
            "http_403 BadTopic: apns-sandbox refuses everything until this is fixed",
            "Apple refuses everything until this is corrected: the app's id at Apple is wrong in our settings",
        ),
        (
            "THIRD_PARTY_AUTH_ERROR: fcm refuses these devices until this is fixed",
            f"Google refuses some of the devices until this is corrected: {reason_in_words('THIRD_PARTY_AUTH_ERROR')}",
        ),
        ("payload_refused: INVALID_ARGUMENT by fcm for arm long", "Google does not take the message"),
        ("payload_refused by apns for arm long, over all lanes of the run", "Apple does not take the message"),
        (
            "wrong_environment: 97 of 100 answers of apns were BadDeviceToken, besides 3 dead tokens",
            "Apple refuses most devices: most tokens are of the other kind: development builds, or published apps",
        ),
        (
            "wrong_sender: by fcm, over all lanes of the run",
            "Google refuses most devices: most tokens are of another app than our key",
        ),
        (
            "apns secret a_b: Secrets Manager cannot be reached",
            "the key for Apple cannot be read at the moment; it is tried again",
        ),
        (
            "no_progress: 5 claims in a row settled nothing; last: s3_key missing",
            "it was begun several times, and nothing was sent",
        ),
        (
            "campaign_exists: campaign 'x' was sent by another run already; give it a new id",
            "a campaign of this name was sent already; a new one needs a new name",
        ),
        ("failed: lane 3: rows_refused: s3://b: AccessDenied", "its results could not be stored"),
    ],
)
def test_why_a_run_stopped(reason: str, words: str) -> None:
    """In words, without code, secret or id; the engineer has all of it."""
    assert run_reason(reason) == RunReason(words, reason)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (f"broken audience: {TABLE}", "its audience is not written as it must be: a table (CSV), not JSON"),
        (f"s3://b/a.csv: {TABLE}", "s3://b/a.csv: a table (CSV), not JSON"),
        ("settings: not set (notifier deploy)", "a setting of this stack is wrong: not set"),
    ],
)
def test_why_a_run_stopped_names_no_command(reason: str, words: str) -> None:
    """The engineer has it with the command."""
    assert run_reason(reason) == RunReason(words, reason)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("broken campaign: campaign.message: x_y is odd", "the campaign has a fault: campaign.message: x_y is odd"),
        ("preparing: the audience function was asked to make it", "preparing: asked to make it"),
        ("s3://b/a_b.json: not there any more", "s3://b/a_b.json: not there any more"),
        ("a field user_id is missing", "a field user_id is missing"),
        ("odd_name", "odd name"),
        ("", ""),
    ],
)
def test_reasons_that_say_what_to_correct_are_kept(reason: str, words: str) -> None:
    """Files and fields keep their own names, underscores and all; nothing is said twice."""
    assert run_reason(reason) == RunReason(words)


def test_every_reason_for_which_a_setting_may_be_blamed_has_words() -> None:
    """As the worker writes them."""
    for name in STOPS.values():
        assert run_reason(f"{name}: by fcm, over all lanes of the run").words.startswith("Google refuses most devices")


def test_every_reason_for_leaving_users_out_has_words() -> None:
    """For what would be, for what was, and on the command line: as the final cut and the rows name them."""
    reasons = {value for name, value in vars(account).items() if name.isupper() and type(value) is str}
    assert {"suppressed", "remainder", "test_part"} < reasons
    for words in (WORDS, _LEFT_OUT, CLI_WORDS):
        assert set(words) == {*reasons, QUIET, TOO_LATE}


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


@pytest.mark.parametrize(("days", "fault"), [(28, False), (29, True)])
def test_a_start_that_is_later_than_the_files_are_kept(days: int, fault: bool) -> None:
    """It says until when it may begin, and what has to be raised for more."""
    start = NOW + timedelta(days=days)
    campaign, _ = read_campaign_of(typed(name="c", title="Hi", start=f"{start:%Y-%m-%dT%H:%M}", timezone="UTC"), NOW)
    assert campaign is not None
    words = (
        "Too late: the files of a campaign are kept for 30 days. Begin by 19 December 2026, 14:00 UTC, or have "
        "BatchFileDays and WorkDays raised by whoever runs this stack."
    )
    assert kept_faults(campaign, KEPT_BY_DEFAULT, NOW) == ({"start": words} if fault else {})


def test_a_start_in_the_past_is_a_fault() -> None:
    """It would be sent at once, which is not what was asked for."""
    _, faults = read_campaign_of(typed(name="c", title="Hi", start="2026-11-21T14:00"), NOW)
    assert faults == {"start": "This time has passed. Leave it empty to send as soon as it is approved."}
    assert read_campaign_of(typed(name="c", title="Hi", start="2026-11-21T14:01"), NOW)[1] == {}


@pytest.mark.parametrize("start", ["", "2026-11-22T10:00"])
def test_a_latest_time_before_the_winner_is_decided(start: str) -> None:
    """The test could be sent, and its winner to nobody."""
    test = typed(
        name="c", title="Hi", start=start, control_percent="50", goal="opened", goal_window_h="24",
        winner="test", test_percent="20", decide_after_h="24", decide_by_h="48", latest="2026-11-22T12:00",
    )  # fmt: skip
    says = "This is over before the winner is decided: the others would get nothing."
    assert read_campaign_of(test, NOW)[1]["latest"] == says
    later = msgspec.structs.replace(test, latest="2026-11-24T12:00")
    assert "latest" not in read_campaign_of(later, NOW)[1]


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


def test_a_time_that_another_function_has_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the pages write times; what is none stays what it is, and is text."""
    assert str(iso_tag("2026-11-21T14:05:00+00:00")).endswith(">21 Nov 2026, 14:05 UTC</time>")
    # Rows have no offset: they are UTC, wherever the pages run.
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert "21 Nov 2026, 14:05 UTC" in str(iso_tag("2026-11-21 14:05:00.123"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert str(iso_tag("soon <b>")) == "soon &lt;b&gt;"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a (notifier release)", "a"),
        ("pause it first (notifier schedules pause n, then without --keep)", "pause it first"),
        ("ann is no mail address, which says who (give `by`, or --by)", "ann is no mail address, which says who"),
        ("give it more by MemorySize (here: --memory-mb), or split", "give it more by MemorySize, or split"),
        (
            "nobody said that x is complete: notifier schedules ready NAME --day 2026-12-01",
            "nobody said that x is complete",
        ),
        ("gone. An engineer can (notifier find USER --export FILE (all)). Ask.", "gone. An engineer can. Ask."),
        (
            "an Excel workbook: save it as CSV, then notifier convert FILE -o a.jsonl",
            "an Excel workbook: save it as CSV",
        ),
        ("a table: notifier convert FILE -o a.jsonl; leave out the rest", "a table; leave out the rest"),
        ("it is gone: notifier erase --files a.jsonl. Ask.", "it is gone. Ask."),
        ("one (of two) is left: ask an engineer", "one (of two) is left: ask an engineer"),
        ("the notifier refuses it (see below)", "the notifier refuses it (see below)"),
        ("Parser: at (SELECT x --y FROM t) (correct the SQL)", "Parser: at (SELECT x --y FROM t) (correct the SQL)"),
        ("SELECT 1 -- a comment (no flag)", "SELECT 1 -- a comment (no flag)"),
        ("", ""),
    ],
)
def test_no_command_on_a_page(said: str, shown: str) -> None:
    """Other functions name commands of the command line: who reads a page has buttons for them."""
    assert without_commands(said) == shown


def test_every_command_is_known_to_the_pages() -> None:
    """Also one that the command line gains: it would stand on a page otherwise."""
    commands = {command.name or "" for command in app.registered_commands}
    commands |= {group.name or "" for group in app.registered_groups}
    assert {"convert", "schedules", "sign-in-link"} < commands
    for command in sorted(commands):
        assert without_commands(f"a: notifier {command} FILE.json --day 1") == "a"
        assert without_commands(f"a (notifier {command} X)") == "a"
