"""Test pushes: what a request would send, sent to the tester's own phones."""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from approval.access import Access
from approval.arm_names import shown_names
from approval.decision_card import text_name
from approval.files import Files
from approval.form import TEXTS, Faults
from approval.form_campaign import read_campaign_of
from approval.people import Person
from approval.preview import arms_of, campaign_for_preview, locales_of
from approval.request import WHOLE, Incomplete, Refused, Request, State, Step, content_hash, file_of_test, require
from approval.runs import Runs
from approval.store import KEEP_S, AuditEntry, Store, TestDevice, TestPush
from notifier.model.campaign import Campaign, Message, Variant
from notifier.model.mailbox import is_same_person, mailbox_of
from notifier.model.plurals import counted
from notifier.model.recipient import Environment, Gateway, Platform

MAX_FILES = 60
MAX_DEVICES = 10
TESTS_PER_WINDOW = 10
WINDOW_S = 600
MIN_TOKEN_CHARS = 8
MAX_TOKEN_CHARS = 4096
MAX_LABEL_CHARS = 60


class BadDevice(Refused):
    """The form of a device has faults. `faults` has them by field."""

    def __init__(self, faults: Faults) -> None:
        super().__init__("Some fields need another look.")
        self.faults = faults


class TestPushes:
    """Sends test pushes, and stores the devices that they go to.

    Args:
        bucket: where their batch files are written.
        users: of a request's audience, as `composer.users_of` names them; their tokens masked.
        now_ms: milliseconds since the epoch.
        log: logs a step with fields. None of them holds a token or a secret.
    """

    __test__ = False

    def __init__(
        self,
        bucket: str,
        store: Store,
        access: Access,
        files: Files,
        runs: Runs,
        users: Callable[[Request], Mapping[str, Mapping[str, Any]]],
        now_ms: Callable[[], int],
        log: Callable[..., None],
    ) -> None:
        self._users_of = users
        self._bucket = bucket
        self._store = store
        self._access = access
        self._files = files
        self._runs = runs
        self._now_ms = now_ms
        self._log = log

    def send(self, id_: str, person: Person, sample: int | None) -> int:
        """Send a push for each arm and language to the person's own devices. Returns how many files were written.

        Args:
            sample: the number of the sample user whose attributes the texts are filled in with; None for none.
        """
        request, now_ms = self._store.request(id_), self._now_ms()
        require(
            person.is_approver or is_same_person(person.email, request.requester),
            "Only the requester and approvers can test it.",
        )
        if request.campaign is None or request.state_at(now_ms) not in (State.IN_REVIEW, State.APPROVED):
            raise Refused("Only a request that is in review can be tested.")
        return self._send(request, request.campaign, person, self._user(request, str(sample)))

    def send_draft(self, draft: Request, person: Person, user: str) -> int:
        """Send what a draft would send, as far as it is written, to its writer's own devices.

        Args:
            user: as `composer.Shown.user` names the user whose attributes the texts are filled in with.

        Raises:
            Incomplete: with the faults of the texts.
        """
        now_ms = self._now_ms()
        require(is_same_person(person.email, draft.requester), "Only its requester can test a draft.")
        if draft.state_at(now_ms) is not State.DRAFT:
            raise Refused("This is no draft any more.")
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        campaign = campaign_for_preview(draft.form, now)
        if campaign is None:
            faults = read_campaign_of(draft.form, now)[1]
            raise Incomplete({field: fault for field, fault in faults.items() if field.rpartition(".")[2] in TEXTS})
        return self._send(draft, campaign, person, self._user(draft, user))

    def _send(self, request: Request, campaign: Campaign, person: Person, chosen: dict[str, Any]) -> int:
        id_, now_ms = request.id, self._now_ms()
        devices = self._store.devices(person.email)
        if not devices:
            raise Refused("Register a device of your own first.")
        pairs = [(arm, locale) for arm in arms_of(campaign) for locale in locales_of(campaign, arm)]
        if len(pairs) > MAX_FILES:
            raise Refused(f"{len(pairs)} variants and languages are too many for one test (at most {MAX_FILES}).")
        if not self._access.is_within("test", mailbox_of(person.email), TESTS_PER_WINDOW, WINDOW_S, now_ms // 1000):
            raise Refused("You have sent many tests. Wait ten minutes.")
        # Numbers are taken before any file is written: two tests at once must not write the same keys.
        first = self._store.next_test_number(id_, len(pairs))
        names, has_languages = shown_names(request.form), any(locale for _, locale in pairs)
        for number, (arm, locale) in enumerate(pairs, first):
            # Several arrive at once, and phones show them in any order: each says which one it is.
            label = text_name(arm, locale, names, has_languages=has_languages) if len(pairs) > 1 else ""
            self._write_test(request, campaign, person, number, arm, locale, devices, chosen, label)
        note = f"{counted(len(pairs), 'push', 'pushes')} to {counted(len(devices), 'device')}"
        self._store.note(id_, AuditEntry(Step.TESTED, person.email, now_ms, note))
        self._log(Step.TESTED, request_id=id_, by=person.email, files=len(pairs))
        return len(pairs)

    def _user(self, request: Request, name: str) -> dict[str, Any]:
        """The record whose attributes the texts are filled in with; none where nobody is named so."""
        return dict(self._users_of(request).get(name, {}))

    def _write_test(
        self,
        request: Request,
        campaign: Campaign,
        person: Person,
        number: int,
        arm: str,
        locale: str,
        devices: list[TestDevice],
        sample: dict[str, Any],
        label: str,
    ) -> None:
        name, now_ms = f"test-{request.id}-{number}", self._now_ms()
        body = file_of_test(
            campaign_of_test(campaign, arm, name, label), [user_of_test(person.email, devices, locale, sample)]
        )
        key = f"batches/test/{request.id}-{number}.json"
        # With RequireApproval test files need an approval, too: the tester's own, as it goes to their devices only.
        self._runs.record_approval(self._bucket, key, body, request.id, [person.email], now_ms // 1000 + KEEP_S)
        metadata = {
            "content-hash": content_hash(campaign, request.parts),
            "request-id": request.id,
            "requested-by": person.email,
        }
        written = self._files.write_once(key, body, metadata, now_ms)
        test = TestPush(
            number=number,
            arm=arm,
            locale=locale,
            by=person.email,
            at_ms=now_ms,
            run_id=written.run_id,
            devices=tuple(device.label for device in devices),
            sample=str(sample.get("user_id", "")),
        )
        self._store.keep_test(request.id, test)

    def add_device(self, person: Person, device: TestDevice) -> None:
        """Register a device of the person."""
        if len(self._store.devices(person.email)) >= MAX_DEVICES:
            raise Refused("Ten devices are enough. Remove one first.")
        self._store.add_device(person.email, device)

    def remove_device(self, person: Person, id_: str) -> None:
        """Remove a device of the person."""
        self._store.remove_device(person.email, id_)


def read_device(label: str, platform: str, token: str, environment: str, gateway: str) -> TestDevice:
    """The device in a posted form.

    Raises:
        BadDevice: with what is wrong, by field.
    """
    token, faults = token.strip(), {}
    if (
        not MIN_TOKEN_CHARS <= len(token) <= MAX_TOKEN_CHARS
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        faults["token"] = "That is not a device token."
    if platform not in (Platform.IOS, Platform.ANDROID):
        faults["platform"] = "iOS or Android."
    if environment not in tuple(Environment) or gateway not in ("", *Gateway):
        faults["environment"] = "Choose one of the list."
    if faults:
        raise BadDevice(faults)
    name = label.strip()[:MAX_LABEL_CHARS] or ("iPhone" if platform == Platform.IOS else "Android phone")
    return TestDevice(secrets.token_hex(6), name, platform, token, environment, gateway or None)


def campaign_of_test(campaign: Campaign, arm: str, name: str, label: str = "") -> Campaign:
    """The campaign of one test push: one arm of 100 %, no control group, an id of its own.

    Args:
        label: what the push says before its title, so that its reader knows which one it is.
    """
    message = msgspec.structs.replace(campaign.message_of(arm), collapse_id=name)
    if label:
        message = _labelled(message, label)
    variants = (Variant(name=arm, percent=WHOLE, message=Message()),)
    return Campaign(id=name, message=message, variants=variants, test=True)


def _labelled(message: Message, label: str) -> Message:
    """The message with a label before its title, in each language: which one is read is the tester's locale."""
    # The label has the variant's name, which a person has typed: braces in it would be read as a placeholder.
    plain = label.replace("{", "(").replace("}", ")")
    title = f"[{plain}] {message.title or ''}".strip()
    translations = {
        locale: msgspec.structs.replace(one, title=f"[{plain}] {one.title}") if one.title else one
        for locale, one in (message.translations or {}).items()
    }
    return msgspec.structs.replace(message, title=title, **({"translations": translations} if translations else {}))


def user_of_test(email: str, devices: list[TestDevice], locale: str, sample: dict[str, Any]) -> dict[str, Any]:
    """A user with the tester's devices and the sample user's attributes."""
    record: dict[str, Any] = {
        k: v for k, v in sample.items() if k not in ("devices", "token", "platform", "gateway", "environment")
    }
    record["user_id"] = f"test:{email}"
    record["devices"] = [_fields(device) for device in devices]
    record.pop("locale", None)  # the language under test, not the sample's; none for the message's own texts
    if locale:
        record["locale"] = locale
    return record


def _fields(device: TestDevice) -> dict[str, str]:
    fields = {"platform": device.platform, "token": device.token, "environment": device.environment}
    return fields | ({"gateway": device.gateway} if device.gateway else {})
