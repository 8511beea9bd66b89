"""Batches: from decoded records to devices, each counted once."""

from typing import Any

import pytest

from notifier.content.render import RenderedTexts, Renderer
from notifier.lifecycle.first_records import FirstRecords
from notifier.model.account import Account, ArmAccount
from notifier.model.arms import Arms
from notifier.model.campaign import CONTROL
from notifier.model.campaign_reading import read_campaign
from notifier.model.cursor import Cursor
from notifier.model.outcome import Outcome
from notifier.model.record_reading import REPEATED
from notifier.model.run import UnfinishedClaim
from notifier.model.spelling import BrokenRecord
from notifier.sending.batch import NO_TEXTS, Batch
from notifier.sending.batch_builder import BatchBuilder
from notifier.sending.possible_repeats import mark_suspected
from notifier.sending.settled_batch import SettledBatch

IOS = {"platform": "ios", "token": "a" * 64}
ANDROID = {"platform": "android", "token": "b:APA91b"}
END = Cursor(record=500)


RENDERER = Renderer(
    read_campaign({"id": "spring", "message": {"body": "{{ name }}"}, "variants": [{"name": "a", "percent": 100}]})
)
"""Needs a name of everybody."""


def user(n: int, *devices: Any, **members: Any) -> dict[str, Any]:
    """A good record."""
    return {"user_id": f"u{n}", "devices": list(devices) or [IOS], "attributes": {"name": f"N{n}"}} | members


def builder(
    control: int = 0, excluded: frozenset[str] = frozenset(), suppressed: frozenset[str] = frozenset()
) -> BatchBuilder:
    """A former with one arm and, perhaps, a control group."""
    shares = [("a", 10_000 - control)] + ([(CONTROL, control)] if control else [])
    return BatchBuilder("r1", "spring", Arms("spring", shares), RENDERER, excluded, suppressed)


def form(*records: object, first: int = 0, **settings: Any) -> Batch:
    """The batch of these records."""
    return builder(**settings).form(first // 500, first, records, END)


def test_every_device_is_a_push() -> None:
    """Record, place in the record, arm, words and endpoint are those of the device."""
    batch = form(user(0), user(1, ANDROID, {**IOS, "environment": "sandbox"}, locale="de"), first=1500)
    assert (batch.number, batch.name, batch.at_end) == (3, "batch=00000003", END)
    found = [(p.record, p.number, p.user_id, p.endpoint, p.locale, p.name) for p in batch.waiting]
    assert found == [
        (1500, 0, "u0", "apns", None, "r1:1500:0"),
        (1501, 0, "u1", "fcm", "de", "r1:1501:0"),
        (1501, 1, "u1", "apns-sandbox", "de", "r1:1501:1"),
    ]
    assert [p.texts for p in batch.waiting] == [RenderedTexts(("a", ""), (name,)) for name in ("N0", "N1", "N1")]
    assert batch.account == Account(users=2, devices=3, arms={"a": ArmAccount(assigned=2)})


def test_broken_records_and_devices() -> None:
    """Each is noted with index, reason and user, counted once, and never among the devices."""
    batch = form(
        user(0),
        7,
        BrokenRecord("longer than 1 MB"),
        user(3, IOS, "x", ANDROID),
        user(4, attributes={}),
        user(5, "x", {}),
        {"user_id": 10**5000, **IOS},
        {"user_id": 9, "token": ""},
        {"user_id": "\ud800" * 600},
    )
    assert [(i.record, i.device, i.reason, i.user_id) for i in batch.invalid] == [
        (1, None, "not an object", None),
        (2, None, "longer than 1 MB", None),
        (3, 1, "device: not an object", "u3"),
        (4, None, "attribute `name` is missing", "u4"),
        (5, 0, "device: not an object", "u5"),
        (5, 1, "token: missing", "u5"),
        (6, None, "user_id: too long", None),
        (7, None, "token: empty", "9"),
        (8, None, "user_id: not encodable as UTF-8", "?" * 512),
    ]
    assert [(p.record, p.number) for p in batch.waiting] == [(0, 0), (3, 0), (3, 2)]
    assert (batch.account.users, batch.account.devices, batch.account.invalid_records) == (9, 3, 9)
    assert batch.account.arms["a"].assigned == 2


def test_control() -> None:
    """Control users are in the batch without words, and broken or not whatever their arm."""
    batch = form(user(0), user(1, IOS, ANDROID), user(2, attributes={}), control=10_000)
    assert [p.texts for p in batch.waiting] == [NO_TEXTS] * 3
    assert batch.account.arms == {CONTROL: ArmAccount(assigned=2)}
    assert batch.account.invalid_records == 1


def test_excluded() -> None:
    """Users on the list are counted, and belong to no arm; a broken one is broken."""
    batch = form(user(0), user(1), user(2, attributes={}), excluded=frozenset({"u0", "u2"}))
    assert [p.user_id for p in batch.waiting] == ["u1"]
    assert (batch.account.users, batch.account.excluded, batch.account.devices) == (3, 1, 1)
    assert batch.account.invalid_records == 1
    assert batch.account.arms == {"a": ArmAccount(assigned=1)}


def test_suppressed() -> None:
    """First a record is broken, then its user is on the exclude list, then suppressed, and only then in an arm."""
    both = frozenset({"u0", "u2"})
    batch = form(*(user(n) for n in range(3)), user(3, attributes={}), excluded=both, suppressed=both | {"u1", "u3"})
    assert (batch.is_complete, batch.account.arms) == (True, {})
    assert (batch.account.users, batch.account.invalid_records, batch.account.excluded) == (4, 1, 3)
    assert batch.account.excluded_by == {"exclude": 2, "suppressed": 1}
    assert [(one.record, one.user_id, one.reason) for one in batch.excluded] == [
        (0, "u0", "exclude"),
        (1, "u1", "suppressed"),
        (2, "u2", "exclude"),
    ]


def test_suppressed_devices_keep_their_places() -> None:
    """A claim says by their places whom it asked for, and the next one may have read other suppressed ids."""
    records = [user(0), user(1, IOS, ANDROID), user(2)]
    before, now = form(*records), form(*records, suppressed=frozenset({"u1"}))
    assert [push.order for push in before.waiting] == [0, 1, 2, 3]
    assert ([push.order for push in now.waiting], now.passed_over, now.pushes) == ([0, 3], [1, 2], 2)


def test_repeats_of_a_device_that_was_suppressed_since() -> None:
    """Two claims may have asked for it: one of their requests was a repeat, though no more are made."""
    batch = form(user(0), user(1), user(2), suppressed=frozenset({"u1", "u2"}))
    asked = [UnfinishedClaim(1, 1), UnfinishedClaim(2, 1, {0: 2}, {0: "3"})]
    mark_suspected(batch, asked)
    assert (batch.account.possibly_repeated, batch.account.repeat_requests) == (2, 2)
    assert [push.maybe_repeat for push in batch.waiting] == [True]


def test_nothing_to_send() -> None:
    """A batch without a device is complete as it is."""
    assert form().is_complete
    assert form(7).is_complete
    assert not form(user(0)).is_complete


def test_from_waiting_to_rows() -> None:
    """A batch is complete once every device has an outcome or is deferred."""
    batch = form(user(0), user(1), user(2))
    sent, refused, deferred = (batch.waiting.popleft() for _ in range(3))
    sent.attempts, sent.asked_as = 2, "id"
    batch.record_outcome(sent, Outcome.ACCEPTED, None, "now", 200, "m")
    batch.record_outcome(refused, Outcome.REJECTED, "Unregistered", "now", 410)
    batch.record_dead_token(refused, "Unregistered", 9)
    assert not batch.is_complete
    batch.defer(deferred)
    assert batch.is_complete
    assert (batch.account.settled, batch.account.deferred) == (2, 1)
    first = batch.rows[0]
    assert (first.record, first.outcome, first.attempts, first.apns_id, first.message_id) == (
        0,
        "accepted",
        2,
        "id",
        "m",
    )
    assert [(dead.user_id, dead.token, dead.since_ms) for dead in batch.dead] == [("u1", "a" * 64, 9)]


def test_tokens_are_not_shown() -> None:
    """Neither a push nor a dead token shows its token."""
    batch = form(user(0))
    push = batch.waiting[0]
    batch.record_dead_token(push, "Unregistered", None)
    assert "a" * 64 not in f"{push!r} {batch.dead[0]!r}"


def test_passed_over() -> None:
    """A batch that is settled already brings its account and nothing else."""
    account = Account(users=500)
    batch = builder().settled(SettledBatch(4, 0, account), END)
    assert (batch.settled_by_another, batch.account, batch.number, batch.is_complete) == (True, account, 4, True)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (user(0), ""),
        (user(0, IOS, "x"), ""),
        (user(0, IOS, IOS), ""),
        (user(0, "x"), "device: not an object (record 0)"),
        (user(0, attributes={}), "attribute `name` is missing (record 0)"),
        (BrokenRecord("too long"), "too long (record 0)"),
    ],
)
def test_judging(record: object, why: str) -> None:
    """A record is broken when nothing of it can be sent, for one reason."""
    first = FirstRecords([record], RENDERER)
    assert (first.why(), first.broken, first.has_devices) == (why, bool(why), not why)


def test_judging_many() -> None:
    """The first three reasons are named, each with its first place, and how many more there are."""
    records = [user(0), 7, user(2, "x"), 7, BrokenRecord("a"), BrokenRecord("b"), BrokenRecord("c")]
    first = FirstRecords(records, RENDERER)
    assert (first.broken, first.has_devices) == (6, True)
    assert first.why() == "not an object (record 1); device: not an object (record 2); a (record 4); and 2 more reasons"


def row(user_id: object, token: str, **members: Any) -> dict[str, Any]:
    """One device of a user, as warehouses write it."""
    return {"user_id": user_id, "platform": "web", "token": token, "attributes": {"name": "N"}} | members


def test_rows_of_one_user_are_one_user() -> None:
    """Next to each other they count once, whatever is broken among them; their numbers stay those of their rows."""
    batch = form(
        row("a", "a1"),
        row("a", "a2"),
        row("b", ""),
        row("b", "b1"),
        row("b", "b2", attributes={}),
        row("b", "b3"),
        row(7, "c1"),
        row(7.0, "c2"),
        row("", "x"),
        row("", "x"),
        row("a", "a3"),
        first=1000,
    )
    assert [push.name for push in batch.waiting] == [f"r1:{1000 + n}:0" for n in (0, 1, 3, 5, 6, 7, 10)]
    account = batch.account
    # a, b, 7, two whose id cannot be read, and a again: what is apart is joined by preparation.
    assert (account.users, account.devices, account.invalid_records) == (6, 7, 4)
    assert account.arms == {"a": ArmAccount(assigned=4)}


def test_excluded_rows_are_one_user() -> None:
    """And a user of several rows in the control group is one there."""
    rows = [row("a", "a1"), row("a", "a2"), row("b", "b1"), row("b", "b2")]
    account = form(*rows, excluded=frozenset({"a"}), control=10_000).account
    assert (account.users, account.excluded, account.devices) == (2, 1, 2)
    assert account.arms == {CONTROL: ArmAccount(assigned=1)}


def test_a_token_twice_is_asked_for_once() -> None:
    """In one record, and in rows of one user; the second is a broken device, and another user may have it."""
    batch = form(
        user(0, IOS, ANDROID, IOS),
        row("a", "t"),
        row("a", "u"),
        row("a", "t"),
        row("a", "u"),
        row("b", "t"),
    )
    assert [(p.record, p.number) for p in batch.waiting] == [(0, 0), (0, 1), (1, 0), (2, 0), (5, 0)]
    assert [(i.record, i.device, i.reason) for i in batch.invalid] == [
        (0, 2, REPEATED),
        (3, 0, REPEATED),
        (4, 0, REPEATED),
    ]
    assert (batch.account.users, batch.account.devices, batch.account.invalid_records) == (3, 5, 3)


def test_over_a_batchs_edge_nothing_is_joined() -> None:
    """A batch is formed alone, so that forming it again gives the same."""
    maker = builder()
    account = Account()
    for number, rows in enumerate(([row("a", "t")], [row("a", "t")])):
        account.add(maker.form(number, number * 500, rows, END).account)
    assert (account.users, account.devices, account.arms["a"].assigned) == (2, 2, 2)
