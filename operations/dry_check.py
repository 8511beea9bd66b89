"""What would become of a batch file if it were sent: its faults, its figures, its arms, its payloads. Nothing is sent.

Records are judged by the same code that the worker uses, so that what is said here is what happens there.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import msgspec

from notifier.audience import BrokenFile, IdSet
from notifier.content.render import RenderedTexts, Renderer, sources_of
from notifier.content.template import UnfitValue, compiled
from notifier.content.text_checks import faults_in, names_of, warnings_of
from notifier.counting.audience_checks import PLACES, warnings_in
from notifier.counting.counter import OTHER, AudienceCounter, AudienceFigures, TokenPlaces, count_named
from notifier.gateway.additions import addition_warnings
from notifier.gateway.apns import message as apns
from notifier.gateway.fcm import message as fcm
from notifier.gateway.payload import Label
from notifier.lifecycle.admission import EXEMPT_BELOW, JUDGED_RECORDS, MAX_BROKEN_SHARE
from notifier.model.arms import Arms
from notifier.model.campaign import CONTROL, BrokenCampaign, Campaign, Fault, read_campaign
from notifier.model.characters import cleaned
from notifier.model.recipient import REPEATED, BrokenRecord, Gateway, Recipient, masked, read_recipient, user_id_in
from notifier.model.user_rows import joined_rows_note

LIMIT_BYTES = 4096
PREVIEWS = 3
TOPIC = "com.example.app"
"""Stands for the app's bundle id, which is in a header and does not count."""
RUN_ID = "0" * 20
"""Stands for the run's id: as long as a real one."""


class Broken(msgspec.Struct, frozen=True, omit_defaults=True):
    """A broken record or device, by its place: `record` counts from 0 over the file, `device` within the record."""

    record: int
    reason: str
    device: int | None = None
    user_id: str | None = None


class Repeat(msgspec.Struct, frozen=True):
    """A device whose token an earlier one has: the records of both, counted from 0 over the file."""

    record: int
    first_record: int


class Preview(msgspec.Struct, frozen=True):
    """What one user would get: his arm, what it says, and the payload of each platform."""

    user_id: str
    arm: str
    locale: str | None
    title: str
    body: str
    ios_bytes: int
    android_bytes: int
    ios: dict[str, Any]
    android: dict[str, Any]


class Sizes(msgspec.Struct):
    """Payloads of one gateway, in bytes. `largest` is of users who have such a device."""

    largest: int = 0
    too_large: int = 0
    limit: int = LIMIT_BYTES

    def add(self, size: int) -> None:
        """One push of this size."""
        self.largest = max(self.largest, size)
        self.too_large += size > self.limit


class ArmSize(msgspec.Struct):
    """How large an arm is. `percent` is what the campaign says."""

    percent: float
    users: int = 0


class Inspection(msgspec.Struct):
    """What was found. `faults` would have the file refused; `warnings` would not.

    `broken` lists broken records up to a limit, `broken_by_reason` counts all of them. `repeats` lists repeated tokens
    up to that limit. `languages` counts the users who read a translation, "" being the message's own texts, and
    `own_texts` the locales of these, "" being none. `figures` are of the whole file; `excluded` counts its users on the
    exclude list, who get no arm.
    """

    name: str
    campaign_id: str | None = None
    faults: list[Fault] = []
    warnings: list[str] = []
    figures: AudienceFigures = msgspec.field(default_factory=AudienceFigures)
    arms: dict[str, ArmSize] = {}
    broken: list[Broken] = []
    broken_by_reason: dict[str, int] = {}
    repeats: list[Repeat] = []
    excluded: int = 0
    payloads: dict[str, Sizes] = {}
    previews: list[Preview] = []
    languages: dict[str, int] = {}
    own_texts: dict[str, int] = {}

    @property
    def is_fine(self) -> bool:
        """Whether the worker would take it."""
        return not self.faults


class Payloads:
    """The payloads of one campaign on both gateways, as the worker would make them."""

    def __init__(self, campaign: Campaign, renderer: Renderer) -> None:
        self._campaign_id = campaign.id
        self._renderer = renderer
        self._prepared: dict[tuple[str, str], tuple[fcm.Prepared, apns.Prepared]] = {}
        self._static: dict[tuple[tuple[str, str], Gateway], int] = {}

    def bytes_of(self, words: RenderedTexts, gateway: Gateway) -> int:
        """What counts against the gateway's limit."""
        if words.texts:
            return self._of(words)[gateway is Gateway.APNS].payload_bytes(words.texts)
        key = (words.key, gateway)
        if key not in self._static:
            self._static[key] = self._of(words)[gateway is Gateway.APNS].payload_bytes(())
        return self._static[key]

    def as_json(self, words: RenderedTexts, gateway: Gateway, token: str, now_s: float) -> dict[str, Any]:
        """A payload to look at."""
        prepared = self._of(words)[gateway is Gateway.APNS]
        decoded: dict[str, Any] = msgspec.json.decode(prepared.body(token, words.texts, now_s))
        return decoded

    def _of(self, words: RenderedTexts) -> tuple[fcm.Prepared, apns.Prepared]:
        if words.key not in self._prepared:
            wording = self._renderer.wording(words.key)
            label = Label(RUN_ID, self._campaign_id, wording.arm)
            self._prepared[words.key] = (
                fcm.Prepared(wording.message, wording.slots, label),
                apns.Prepared(wording.message, wording.slots, label, topic=TOPIC),
            )
        return self._prepared[words.key]


class Watching(Protocol):
    """Told now and then how many records were looked at."""

    def __call__(self, users: int) -> object: ...


class Inspector:
    """Looks at a campaign and its records.

    Args:
        name: of the file, for people.
        faults_of: what the gateways have against a campaign's messages.
        limit: how many broken records and repeated tokens are listed; 0 for all.
        place_of: the part that holds the record of a number, and its number there.
    """

    def __init__(
        self,
        name: str,
        faults_of: Callable[[Campaign], Iterator[Fault]],
        limit: int,
        now_s: float,
        place_of: Callable[[int], tuple[str, int]] = lambda number: ("", number),
    ) -> None:
        self.found = Inspection(name)
        self._faults_of = faults_of
        self._limit = limit
        self._now_s = now_s
        self._tally = AudienceCounter(locate=place_of)
        self._campaign: Campaign | None = None
        self._renderer: Renderer | None = None
        self._payloads: Payloads | None = None
        self._arms: Arms | None = None
        self._broken_at_first = 0
        self._excluded: IdSet | None = None
        self._places = TokenPlaces()
        self._first: list[object] = []
        self._with_controls = 0

    def take_campaign(self, decoded: object) -> Campaign | None:
        """Look at the campaign. None, and faults in what was found, if it cannot be sent."""
        try:
            campaign = read_campaign(decoded)
            self._renderer = Renderer(campaign)
        except BrokenCampaign as error:
            self.found.faults += error.faults
            return None
        self.found.campaign_id = campaign.id
        if faults := tuple(self._faults_of(campaign)):
            self.found.faults += faults
            return None
        self._campaign = campaign
        self._payloads = Payloads(campaign, self._renderer)
        self._arms = Arms(campaign.salt, campaign.arms)
        self.found.arms = {name: ArmSize(share / 100) for name, share in campaign.arms}
        self.found.payloads = {gateway.value: Sizes() for gateway in (Gateway.APNS, Gateway.FCM)}
        return campaign

    def exclude(self, user_ids: IdSet) -> None:
        """Users who are left out."""
        self._excluded = user_ids

    def take_records(self, pieces: Iterable[list[object]], watching: Watching | None = None) -> None:
        """Look at every record; a broken file is a fault with its place, after all records before it."""
        figures = self._tally.figures
        try:
            for records in pieces:
                for value in records:
                    self._look_at(figures.records, value)
                    figures.records += 1
                if watching is not None:
                    watching(figures.users)
        except BrokenFile as error:
            self.found.faults.append(Fault("file", str(error), "mend the file at this place, or export it again"))

    def finish(self) -> Inspection:
        """Everything that was found."""
        tally, found = self._tally, self.found
        tally.take(())
        found.figures = tally.figures
        found.figures.repeated_tokens = tally.tokens.repeated()
        if found.figures.repeated_tokens:
            places = self._places.repeats(tally.tokens.repeated_hashes())
            found.repeats = [Repeat(*place) for place in islice(places, self._limit or None)]
        self._judge_share()
        found.warnings += self._warnings()
        self._judge_texts()
        return found

    def _judge_texts(self) -> None:
        """What the texts ask for, against what the records have."""
        if self._campaign is None or not self._first:
            return
        self.found.faults += faults_in(self._campaign, self._first, shown=True)
        names = self._tally.figures.attributes.keys() | names_of(self._first)
        if OTHER not in names:
            self.found.warnings += warnings_of(self._campaign, names)
        if self._with_controls:
            told = (
                f"{self._with_controls:,} users have control characters in an attribute: they are left out of the text"
            )
            self.found.warnings.append(told)

    def _look_at(self, number: int, value: object) -> None:
        if number < JUDGED_RECORDS:
            self._first.append(value)
        try:
            if isinstance(value, BrokenRecord):
                raise value
            recipient = read_recipient(value)
            if self._renderer is not None:
                self._renderer.check(recipient)
        except BrokenRecord as error:
            self._tally.count_user(user_id_in(value))
            self._note(number, str(error), value, shown=error.shown if isinstance(error, UnfitValue) else "")
            return
        self._tally.count_user(recipient.user_id)
        recipient = self._tally.user_rows.without_repeated_tokens(recipient)
        for place, reason in recipient.broken_devices:
            self._note(number, reason, value, place, whole=not recipient.devices and reason != REPEATED)
        self._tally.figures.invalid_records -= len(recipient.broken_devices)
        is_new = self._tally.count(recipient)
        for _, device in recipient.devices:
            self._places.add(device.token, number)
        if recipient.devices and self._excluded is not None and recipient.user_id in self._excluded:
            self.found.excluded += is_new
        elif recipient.devices and self._arms is not None:
            self._arm(recipient, is_new=is_new)

    def _arm(self, recipient: Recipient, *, is_new: bool) -> None:
        """Count the user, unless an earlier row of his was, into his arm, and weigh what he would be sent."""
        assert self._arms is not None
        assert self._renderer is not None
        assert self._payloads is not None
        arm = self._arms.names[self._arms.index_of(recipient.user_id.encode())]
        self.found.arms[arm].users += is_new
        if arm == CONTROL:
            return
        words = self._renderer.render(arm, recipient)
        if is_new:
            self._count_reader(words, recipient)
        for _, device in recipient.devices:
            carrier = device.carrier
            self.found.payloads[carrier].add(self._payloads.bytes_of(words, carrier))
        if len(self.found.previews) < PREVIEWS:
            self.found.previews.append(self._preview(arm, recipient, words))

    def _count_reader(self, words: RenderedTexts, recipient: Recipient) -> None:
        """Which translation the user reads, and whether any of his attributes loses control characters on the way."""
        language = words.key[1].partition(",")[0]
        self.found.languages[language] = self.found.languages.get(language, 0) + 1
        if not language:
            count_named(self.found.own_texts, recipient.locale or "")
        values = recipient.attributes.values()
        self._with_controls += bool(words.texts) and any(isinstance(v, str) and cleaned(v) != v for v in values)

    def _preview(self, arm: str, recipient: Recipient, words: RenderedTexts) -> Preview:
        assert self._payloads is not None
        token = masked(recipient.devices[0][1].token)
        ios = self._payloads.as_json(words, Gateway.APNS, token, self._now_s)
        android = self._payloads.as_json(words, Gateway.FCM, token, self._now_s)
        shown = android["message"].get("notification", {})
        return Preview(
            user_id=recipient.user_id,
            arm=arm,
            locale=recipient.locale,
            title=shown.get("title", ""),
            body=shown.get("body", ""),
            ios_bytes=self._payloads.bytes_of(words, Gateway.APNS),
            android_bytes=self._payloads.bytes_of(words, Gateway.FCM),
            ios=ios,
            android=android,
        )

    def _note(
        self, number: int, reason: str, value: object, device: int | None = None, *, whole: bool = True, shown: str = ""
    ) -> None:
        figures, found = self._tally.figures, self.found
        figures.invalid_records += 1
        self._broken_at_first += number < JUDGED_RECORDS and whole and device in (None, 0)
        found.broken_by_reason[reason] = found.broken_by_reason.get(reason, 0) + 1
        if device is None:
            self._tally.count_broken(reason)
        if not self._limit or len(found.broken) < self._limit:
            user_id = user_id_in(value)
            known = user_id[:200] if user_id is not None else None
            found.broken.append(Broken(number, shown or reason, device, known))

    def _judge_share(self) -> None:
        figures = self._tally.figures
        judged = min(figures.records, JUDGED_RECORDS)
        if not figures.devices and not self.found.faults:
            problem = "the audience is empty: there is nobody to send to"
            if figures.records:
                problem = f"none of the {figures.records:,} records can be sent to: {self._first_reasons()}"
            self.found.faults.append(Fault("users", problem, "the worker refuses such a file; see the reasons"))
            return
        if judged >= EXEMPT_BELOW and self._broken_at_first / judged > MAX_BROKEN_SHARE:
            share = self._broken_at_first / judged
            problem = f"{share:.0%} of the first {judged} records are broken: the worker would refuse the file"
            self.found.faults.append(Fault("users", problem, "see the broken records below; is it the right file?"))

    def _first_reasons(self) -> str:
        """Why records are broken, three reasons with the first place of each."""
        groups = self._tally.figures.broken[:PLACES]
        return "; ".join(f"{group.reason} (record {group.places[0]})" for group in groups)

    def _names_used(self) -> frozenset[str] | None:
        """The attributes that the texts ask for; None without a campaign."""
        if self._campaign is None:
            return None
        return frozenset[str]().union(*(compiled(text).roots for _, text in sources_of(self._campaign)))

    def _warnings(self) -> Iterator[str]:
        figures, campaign = self._tally.figures, self._campaign
        if campaign is not None and campaign.exclude is not None and self._excluded is None:
            yield "the exclude list was not looked at, as no stack is named: the arms may be smaller"
        if campaign is not None and campaign.abort_after and campaign.abort_after.timestamp() <= self._now_s:
            yield f"abort_after ({campaign.abort_after.isoformat()}) is over: nothing would be sent"
        if campaign is not None:
            yield from addition_warnings(campaign)
        if joined := joined_rows_note(figures.records, figures.users):
            yield joined
        yield from warnings_in(figures.null_words, figures.other_gateway, self._names_used())
        if figures.repeated_tokens:
            yield f"{figures.repeated_tokens:,} devices repeat a token: those phones would be asked for more than once"
        if figures.invalid_records:
            yield f"{figures.invalid_records:,} records or devices are broken: they would be skipped and listed"
        for gateway, sizes in self.found.payloads.items():
            if sizes.too_large:
                yield f"{sizes.too_large:,} payloads for {gateway} are over {sizes.limit:,} bytes: rejected"
