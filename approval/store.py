"""Requests, their audit trail, test pushes and test devices, in the approval app's own table in DynamoDB.

| pk | sk | holds |
|---|---|---|
| `request#ID` | `request` | the request; every write is conditional on its version |
| `request#ID` | `audit#TIME#NONCE` | one step, written in the same transaction as what it changed |
| `request#ID` | `test#N` | one test push |
| `request#ID` | `conversions` | the latest count of its conversions that was asked for |
| `list` | `TIME#ID` | what the list shows of a request, written in the same transaction |
| `person#EMAIL` | `device#ID` | a test device |
| `question#SCHEDULE` | hash or time | since when approvers are mailed what they are to decide on, and that they were |
| `ended#RUN` | `mail` | the same of the mail with a run's figures |
| `site` | `site` | where these pages were last: for mails that no visitor's call causes |

The same table holds what `access` keeps.
"""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr, ConditionBase
from botocore.exceptions import ClientError

from approval.form import names_in
from approval.request import Request, State
from approval.table import Table
from approval.without_user import without_user
from notifier.dynamodb import IS_NEW, Item, Update, condition_of, is_refused, item_of
from notifier.model.local_time import first_cut_s

KEEP_S = 400 * 86_400
"""Requests and their audit trail are kept for this long after the last step."""
CUT_OFF_S = 60
"""A call that began this long ago and has not ended was cut off: no call may take half of it (template.yaml)."""
_TRIES = 6
"""How often a step is tried when another one is written first each time."""
_MAX_LISTED = 300
_MAX_TESTS = 60
_MAX_DEVICES = 50
_SUMMARY_CHARS = 120
_MAX_ADDRESS_CHARS = 1000


class Conflict(Exception):
    """Other steps were written first at every try."""


class NoSuchRequest(LookupError):
    """There is no request of this id."""


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step: who, what, when (milliseconds since the epoch), and a note for people.

    `step` is a `Step`, or one that only a newer release knows. `by` is empty where it is no person's step.
    """

    step: str
    by: str
    at_ms: int
    note: str = ""


class ListedRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request as the list shows it. What has a default is missing where an earlier release wrote it.

    `text`, `push_title` and `push_text` are the beginnings of the texts as they were written, for searching;
    `small_title` and `small_text` are the push as it is drawn in small, filled in for nobody in particular.
    `is_reviewed` is whether its content was sent for review, and not taken back: until then it is its writer's own.
    `approved_by` is who has approved this content; None where an earlier release did not say.
    """

    id: str
    title: str
    text: str
    requester: str
    state: State
    created_at_ms: int
    updated_at_ms: int
    expires_at_ms: int
    audience: tuple[str, ...] = ()
    run_id: str = ""
    users: int | None = None
    starts_at_ms: int | None = None
    sent_at_ms: int | None = None
    has_goal: bool = False
    push_title: str = ""
    push_text: str = ""
    image_url: str = ""
    is_reviewed: bool = False
    small_title: str | None = None
    small_text: str | None = None
    approved_by: tuple[str, ...] | None = None


class TestDevice(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person's own phone, for test pushes. Its token is never shown again."""

    __test__ = False

    id: str
    label: str
    platform: str
    token: str
    environment: str = "production"
    gateway: str | None = None

    # The token must not reach a log or a traceback through a value that is printed.
    def __repr__(self) -> str:
        return f"TestDevice(id={self.id!r}, platform={self.platform!r})"


class TestPush(msgspec.Struct, frozen=True, omit_defaults=True):
    """One test file that was written: for which arm and language, by whom, and its run."""

    __test__ = False

    number: int
    arm: str
    locale: str
    by: str
    at_ms: int
    run_id: str
    devices: tuple[str, ...]
    sample: str = ""


class CountAsked(msgspec.Struct, frozen=True):
    """That a person has had the conversions of a request's run counted. `count` is the count's id."""

    count: str
    by: str
    at_ms: int


_encode = msgspec.json.Encoder(decimal_format="number").encode


class Store(Table):
    """Requests, and what belongs to them and to people."""

    # -- mails of schedules -------------------------------------------------------------------------------------------

    def begin_once(self, pk: str, sk: str, now_s: int, request_id: str) -> bool:
        """Enter that something is being done. False where it was done before, or another call is at it.

        Args:
            request_id: of the invocation, which is the same when Lambda tries it again; "" where there is none.
        """
        # An entry without a beginning is of a release that entered only what it had done.
        is_open = Attr("begun_at").exists() & Attr("done_at").not_exists()
        # Its call was ended in between: Lambda would not try it again otherwise, and no call takes a minute.
        was_cut_off: ConditionBase = Attr("begun_at").lte(now_s - CUT_OFF_S)
        if request_id:
            was_cut_off |= Attr("asked").eq(request_id)
        entry = item_of({"pk": pk, "sk": sk, "begun_at": now_s, "asked": request_id, "expires_at": now_s + KEEP_S})
        try:
            self._client.put_item(TableName=self._table, Item=entry, **condition_of(IS_NEW | (is_open & was_cut_off)))
        except ClientError as error:
            if not is_refused(error):
                raise
            return False
        return True

    def end_once(self, pk: str, sk: str, now_s: int) -> None:
        """Enter that what `begin_once` has begun is done."""
        done = Update().set(done_at=now_s).arguments()
        self._client.update_item(TableName=self._table, Key=item_of({"pk": pk, "sk": sk}), **done)

    def forget(self, pk: str, sk: str) -> None:
        """Take back what `begin_once` has entered."""
        self._client.delete_item(TableName=self._table, Key=item_of({"pk": pk, "sk": sk}))

    def keep_base_url(self, base_url: str) -> None:
        """Note the address of these pages, as a person who has just signed in has reached them."""
        self._client.put_item(TableName=self._table, Item=item_of({"pk": "site", "sk": "site", "base_url": base_url}))

    def base_url(self) -> str:
        """The address of these pages; "" before anybody has signed in."""
        item = self._get("site", "site")
        return str(item["base_url"]["S"]) if item is not None else ""

    # -- requests -----------------------------------------------------------------------------------------------------

    def request(self, id_: str) -> Request:
        """A request as it is now. Raises NoSuchRequest."""
        item = self._get(f"request#{id_}", "request")
        if item is None:
            raise NoSuchRequest(id_)
        return msgspec.json.decode(item["data"]["S"], type=Request)

    def create(self, request: Request, entry: AuditEntry) -> None:
        """Write a new request."""
        self._write(request, None, (entry,))

    def change(self, id_: str, step: Callable[[Request], Request], entry: AuditEntry | None) -> tuple[Request, Request]:
        """Apply a step to the request as it is now, and write the result unless another step was written in between.

        After such a conflict the step is applied to what the other one has written. It may be refused then, as it would
        have been after it.

        Returns the request before and after; they are the same object when the step changed nothing, and then nothing
        was written. Raises what the step raises, NoSuchRequest, and Conflict after several tries.

        Args:
            entry: of the audit trail; None for what is no step of its own.
        """
        for _ in range(_TRIES):
            before = self.request(id_)
            after = step(before)
            if after is before:
                return before, after
            try:
                self._write(after, before.version, (entry,) if entry is not None else ())
            except Conflict:
                continue
            return before, after
        raise Conflict(id_)

    def _write(self, request: Request, version: int | None, entries: tuple[AuditEntry, ...]) -> None:
        """Write a request with its place in the list and its audit entries: all of them, or none.

        Args:
            version: of the request that this one was made from; None for a new one.
        """
        actions = [
            {"Put": {"TableName": self._table, "Item": _request_item(request), **condition_of(_is_still(version))}},
            # Neither the list nor the trail has a condition: the transaction gives them the request's.
            self._put(_listed_item(request)),
            *(self._put(self._audit_item(request.id, entry)) for entry in entries),
        ]
        try:
            self._client.transact_write_items(TransactItems=actions)
        except ClientError as error:
            # Cancelled: the condition does not hold. Conflict: another transaction writes the same items right now, and
            # nothing was written by this one. Both mean that the step has to be made from what is there next.
            if error.response["Error"]["Code"] in ("TransactionCanceledException", "TransactionConflictException"):
                raise Conflict(request.id) from None
            raise

    def _put(self, item: Item) -> dict[str, Any]:
        return {"Put": {"TableName": self._table, "Item": item}}

    def listed(self, limit: int = _MAX_LISTED, before: str = "") -> list[ListedRequest]:
        """Requests, newest first.

        Args:
            before: `place_of` the request after which the list goes on; by default it begins with the newest.
        """
        items = self._items("list", newest_first=True, limit=limit, before=before)
        return [msgspec.json.decode(item["data"]["S"], type=ListedRequest) for item in items]

    # -- the audit trail ----------------------------------------------------------------------------------------------

    def note(self, id_: str, entry: AuditEntry) -> None:
        """Write a step that does not change the request itself."""
        self._client.put_item(TableName=self._table, Item=self._audit_item(id_, entry))

    def audit(self, id_: str) -> list[AuditEntry]:
        """Every step, oldest first."""
        return [
            msgspec.json.decode(item["data"]["S"], type=AuditEntry) for item in self._items(f"request#{id_}", "audit#")
        ]

    def _audit_item(self, id_: str, entry: AuditEntry) -> Item:
        # Padded, so that the order of keys is that of time; the nonce keeps apart two steps of one millisecond.
        sk = f"audit#{entry.at_ms:015d}#{secrets.token_hex(4)}"
        return _item(f"request#{id_}", sk, entry, expires_at=entry.at_ms // 1000 + KEEP_S)

    # -- test pushes --------------------------------------------------------------------------------------------------

    def next_test_number(self, id_: str, count: int) -> int:
        """Reserve `count` numbers in a row for tests of the request, and return the first."""
        # Adding is atomic and needs no condition: of two callers at once each gets a range of its own.
        answer = self._client.update_item(
            TableName=self._table,
            Key=item_of({"pk": f"request#{id_}", "sk": "tests"}),
            ReturnValues="UPDATED_NEW",
            **Update().add(n=count).arguments(),
        )
        return int(answer["Attributes"]["n"]["N"]) - count + 1

    def keep_test(self, id_: str, test: TestPush) -> None:
        """Store a test push."""
        item = _item(f"request#{id_}", f"test#{test.number:06d}", test, expires_at=test.at_ms // 1000 + KEEP_S)
        self._client.put_item(TableName=self._table, Item=item)

    def tests(self, id_: str) -> list[TestPush]:
        """The test pushes of a request, newest first."""
        items = self._items(f"request#{id_}", "test#", newest_first=True, limit=_MAX_TESTS)
        return [msgspec.json.decode(item["data"]["S"], type=TestPush) for item in items]

    # -- conversions --------------------------------------------------------------------------------------------------

    def keep_count(self, id_: str, asked: CountAsked) -> None:
        """Store that the conversions of a request's run are counted: the latest count takes the place of others."""
        item = _item(f"request#{id_}", "conversions", asked, expires_at=asked.at_ms // 1000 + KEEP_S)
        self._client.put_item(TableName=self._table, Item=item)

    def count_asked(self, id_: str) -> CountAsked | None:
        """The latest count that was asked for; None where there was none."""
        item = self._get(f"request#{id_}", "conversions")
        return msgspec.json.decode(item["data"]["S"], type=CountAsked) if item is not None else None

    # -- test devices -------------------------------------------------------------------------------------------------

    def devices(self, email: str) -> list[TestDevice]:
        """A person's test devices."""
        items = self._items(f"person#{email}", "device#", limit=_MAX_DEVICES)
        return [msgspec.json.decode(item["data"]["S"], type=TestDevice) for item in items]

    def add_device(self, email: str, device: TestDevice) -> None:
        """Register a test device."""
        item = _item(f"person#{email}", f"device#{device.id}", device)
        self._client.put_item(TableName=self._table, Item=item)

    def remove_device(self, email: str, id_: str) -> None:
        """Remove a test device, if there is one of this id; never another person's, because the key holds the owner."""
        key = item_of({"pk": f"person#{email}", "sk": f"device#{id_}"})
        self._client.delete_item(TableName=self._table, Key=key)


def _is_still(version: int | None) -> ConditionBase:
    """The condition under which a request may be written.

        A reads version 3 -> B reads version 3 -> B writes 4 -> A's write finds 4 and is refused -> A reads 4 …

    Without it A would undo what B did, for example B's approval or rejection.
    """
    if version is None:
        # Ids are random, so that this refuses only a second write of the same `create`.
        return IS_NEW
    # The request is the one that the step was made from: its version counts the writes. A request that has expired from
    # the table has no version, so that a step on it is refused, too.
    return Attr("version").eq(version)


def _item(pk: str, sk: str, value: object, **more: int) -> Item:
    return item_of({"pk": pk, "sk": sk, "data": _encode(value).decode(), **more})


def _request_item(request: Request) -> Item:
    return _item(f"request#{request.id}", "request", request, version=request.version, expires_at=_expires_at(request))


def _listed_item(request: Request) -> Item:
    # By the time of its creation, which never changes: each write replaces the same item.
    return _item("list", place_of(request), _listed(request), expires_at=_expires_at(request))


def place_of(request: Request | ListedRequest) -> str:
    """Where a request is in the list."""
    return f"{request.created_at_ms:015d}#{request.id}"


def _expires_at(request: Request) -> int:
    """When DynamoDB may delete what belongs to the request; seconds since the epoch."""
    return request.updated_at_ms // 1000 + KEEP_S


def _starts_at_ms(request: Request) -> int | None:
    if request.campaign is None:
        return None
    local, start = request.campaign.local_time, request.campaign.not_before
    if local is not None and local.date is not None:
        # In each user's own time it begins where that hour comes first.
        return first_cut_s(local, local.date) * 1000
    return int(start.timestamp() * 1000) if start is not None else None


def _first(*texts: str) -> str:
    return next((text for text in texts if text), "")


def _listed(request: Request) -> ListedRequest:
    form = request.form
    title = _first(form.title, *(one.title for one in form.variants))
    text = _first(form.body, *(one.body for one in form.variants))
    return ListedRequest(
        id=request.id,
        title=request.title,
        text=(form.title or form.body)[:_SUMMARY_CHARS],
        requester=request.requester,
        state=request.state,
        created_at_ms=request.created_at_ms,
        updated_at_ms=request.updated_at_ms,
        expires_at_ms=request.expires_at_ms,
        audience=names_in(form),
        run_id=request.written.run_id if request.written else "",
        users=request.users,
        starts_at_ms=_starts_at_ms(request),
        sent_at_ms=request.written.at_ms if request.written else None,
        has_goal=request.campaign is not None and request.campaign.goal is not None,
        push_title=title[:_SUMMARY_CHARS],
        push_text=text[:_SUMMARY_CHARS],
        image_url=form.image_url[:_MAX_ADDRESS_CHARS],
        is_reviewed=request.campaign is not None,
        # Filled in before they are shortened: a placeholder that is cut in two is none.
        small_title=without_user(title)[:_SUMMARY_CHARS],
        small_text=without_user(text)[:_SUMMARY_CHARS],
        approved_by=tuple(given.by for given in request.approvals),
    )
