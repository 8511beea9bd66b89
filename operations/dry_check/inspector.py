"""Goes over a campaign and its records as the worker would, and writes down what it finds."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from notifier.audience import BrokenFile, IdSet
from notifier.content.render import RenderedTexts, Renderer
from notifier.content.template import UnfitValue
from notifier.content.text_checks import faults_in, names_of, warnings_of
from notifier.lifecycle.admission import JUDGED_RECORDS
from notifier.model.arms import Arms
from notifier.model.audience_counts import OTHER
from notifier.model.campaign import CONTROL, Campaign
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.characters import cleaned
from notifier.model.plurals import counted
from notifier.model.recipient import Device, Gateway, Recipient, masked
from notifier.model.record_reading import REPEATED, read_recipient, user_id_in
from notifier.model.spelling import BrokenRecord
from notifier.model.suspicious_values import of_other_gateway
from notifier.model.validation import Fault
from operations.dry_check.figures import AudienceCounter, TokenPlaces, count_named
from operations.dry_check.inspection import ArmSize, Broken, Inspection, Preview, Repeat, Sizes
from operations.dry_check.judgement import audience_faults, audience_warnings, campaign_warnings
from operations.dry_check.payloads import Payloads
from operations.dry_check.times import TimesCounter

PREVIEWS = 3
MAX_ID_CHARS = 200
"""Of a user id in the list of broken records."""
_HEX = frozenset("0123456789abcdefABCDEF")


class _Sending(msgspec.Struct, frozen=True):
    """A campaign that can be sent, and what its users' pushes are made with."""

    campaign: Campaign
    renderer: Renderer
    payloads: Payloads
    arms: Arms


class Inspector:
    """Checks a campaign, then its records, then what both say together: `take_campaign`, `take_records`, `finish`.

    Args:
        name: of the file, for messages.
        faults_of: what the gateways would refuse in a campaign's messages.
        limit: how many broken records, and how many repeated tokens, are listed; 0 for all.
        now_s: the time, in epoch seconds: a campaign may be over.
        locate: the part that holds a record, and the record's number there, from its number in the whole audience.
    """

    def __init__(
        self,
        name: str,
        faults_of: Callable[[Campaign], Iterator[Fault]],
        limit: int,
        now_s: float,
        locate: Callable[[int], tuple[str, int]] = lambda number: ("", number),
    ) -> None:
        self.found = Inspection(name)
        self._faults_of = faults_of
        self._limit = limit
        self._now_s = now_s
        self._counts = AudienceCounter(locate=locate)
        self._renderer: Renderer | None = None
        self._sending: _Sending | None = None
        self._excluded: IdSet | None = None
        self._times: TimesCounter | None = None
        self._reason_of: Callable[[str], str | None] | None = None
        self._tokens = TokenPlaces()
        self._first: list[object] = []
        self._broken_at_first = 0
        self._with_controls = 0
        self._not_hex = 0

    # -- what is given ------------------------------------------------------------------------------------------------

    def take_campaign(self, decoded: object) -> Campaign | None:
        """Check the campaign. None where it cannot be sent; the findings have the faults then."""
        try:
            campaign = read_campaign(decoded)
            # Kept even if a gateway refuses the messages: records are still checked for the attributes they need.
            self._renderer = Renderer(campaign)
        except BrokenCampaign as error:
            self.found.faults += error.faults
            return None
        self.found.campaign_id = campaign.id
        if faults := tuple(self._faults_of(campaign)):
            self.found.faults += faults
            return None
        payloads, arms = Payloads(campaign, self._renderer), Arms(campaign.salt, campaign.arms)
        self._sending = _Sending(campaign, self._renderer, payloads, arms)
        self.found.arms = {name: ArmSize(hundredths / 100) for name, hundredths in campaign.arms}
        if campaign.is_timed:
            self._times = TimesCounter(campaign, self._now_s)
            self.found.times = self._times.figures
        self.found.payloads = {gateway.value: Sizes() for gateway in (Gateway.APNS, Gateway.FCM)}
        return campaign

    def exclude(self, user_ids: IdSet) -> None:
        """Leave these users out of the arms. Without this call the findings warn that no exclude list was read."""
        self._excluded = user_ids

    def leave_out(self, reason_of: Callable[[str], str | None]) -> None:
        """Count whom a run that began now would leave out, by this reason of a user id."""
        self._reason_of = reason_of
        self.found.left_out = {}

    def add_fault(self, fault: Fault) -> None:
        """A fault that was found outside, such as a list that cannot be read."""
        self.found.faults.append(fault)

    def add_warning(self, warning: str) -> None:
        """Something that looks wrong and does not keep the file from being sent."""
        self.found.warnings.append(warning)

    def take_records(
        self, pieces: Iterable[list[object]], on_progress: Callable[[int], object] = lambda _: None
    ) -> None:
        """Check every record. Where the file breaks off that is a fault, after everything before it was counted.

        Args:
            on_progress: called with the number of users after each piece.
        """
        figures = self._counts.figures
        try:
            for records in pieces:
                for value in records:
                    self._take_record(figures.records, value)
                    figures.records += 1
                on_progress(figures.users)
        except BrokenFile as error:
            self.add_fault(Fault("file", str(error), error.mend))

    def finish(self) -> Inspection:
        """All findings. Called once, after the last record."""
        counts, found = self._counts, self.found
        counts.take(())  # no more records: brings the figures by platform up to date
        found.figures = counts.figures
        found.figures.repeated_tokens = counts.tokens.repeated()
        if found.figures.repeated_tokens:
            repeats = self._tokens.repeats(counts.tokens.repeated_hashes())
            found.repeats = [Repeat(*records) for records in islice(repeats, self._limit or None)]
        # With a fault already, such as a file that breaks off, that no device is left would only distract.
        if found.figures.devices or not found.faults:
            found.faults += audience_faults(found.figures, self._broken_at_first)
        campaign = self._sending.campaign if self._sending is not None else None
        if campaign is not None:
            is_read = self._excluded is not None
            found.warnings += campaign_warnings(campaign, self._now_s, exclude_is_read=is_read)
        if self._times is not None:
            found.faults += self._times.faults()
            found.warnings += self._times.warnings()
        found.warnings += audience_warnings(found, campaign, self._not_hex)
        self._check_texts()
        return found

    # -- one record ---------------------------------------------------------------------------------------------------

    def _take_record(self, number: int, value: object) -> None:
        if number < JUDGED_RECORDS:
            self._first.append(value)
        try:
            recipient = self._read(value)
        except BrokenRecord as error:
            self._take_broken(number, value, error)
            return
        self._counts.count_user(recipient.user_id)
        # Without the tokens that an earlier row of this user had: they are broken devices here, as for the worker.
        recipient = self._counts.user_rows.without_repeated_tokens(recipient)
        self._take_broken_devices(number, value, recipient)
        is_new_user = self._counts.count(recipient)
        for _, device in recipient.devices:
            self._tokens.add(device.token, number)
            if _is_not_hex(device):
                self._not_hex += 1
        if recipient.devices:
            self._assign(recipient, is_new_user=is_new_user)

    def _read(self, value: object) -> Recipient:
        """The record's user. Raises BrokenRecord, also where some arm's text cannot be filled in for it."""
        if isinstance(value, BrokenRecord):  # the parser hands out what it could not decode in the record's place
            raise value
        recipient = read_recipient(value)
        if self._renderer is not None:
            self._renderer.check(recipient)
        return recipient

    def _take_broken(self, number: int, value: object, error: BrokenRecord) -> None:
        self._counts.count_user(user_id_in(value))
        self._counts.figures.invalid_records += 1
        self._counts.count_broken(str(error))
        if number < JUDGED_RECORDS:
            self._broken_at_first += 1
        # The list may quote the value that does not fit; the counts by reason must not, or each would be its own.
        self._list_broken(number, value, str(error), shown=error.with_value if isinstance(error, UnfitValue) else "")

    def _take_broken_devices(self, number: int, value: object, recipient: Recipient) -> None:
        """Lists them. They are counted with the user's other devices, by `AudienceCounter.count`."""
        for n, reason in recipient.broken_devices:
            self._list_broken(number, value, reason, n)
        # A record is broken when none of its devices works; one that only repeats its user's tokens is not.
        is_broken = not recipient.devices and any(n == 0 and why != REPEATED for n, why in recipient.broken_devices)
        if number < JUDGED_RECORDS and is_broken:
            self._broken_at_first += 1

    def _list_broken(
        self, number: int, value: object, reason: str, device: int | None = None, *, shown: str = ""
    ) -> None:
        found = self.found
        found.broken_by_reason[reason] = found.broken_by_reason.get(reason, 0) + 1
        if self._limit and len(found.broken) >= self._limit:
            return
        user_id = user_id_in(value)
        known = user_id[:MAX_ID_CHARS] if user_id is not None else None
        found.broken.append(Broken(number, shown or reason, device, known))

    def _assign(self, recipient: Recipient, *, is_new_user: bool) -> None:
        """Count the user into an arm, and measure what would be sent to the devices of this record.

        A user whose rows stand next to each other is counted once, by the first; each row's devices are measured.
        """
        if is_new_user and self._reason_of is not None and self.found.left_out is not None:
            reason = self._reason_of(recipient.user_id)
            if reason is not None:
                self.found.left_out[reason] = self.found.left_out.get(reason, 0) + 1
        if self._excluded is not None and recipient.user_id in self._excluded:
            if is_new_user:
                self.found.excluded += 1
            return
        if self._sending is None:
            return
        if is_new_user and self._times is not None and not self._times.take(recipient.timezone):
            return
        arms = self._sending.arms
        arm = arms.names[arms.index_of(recipient.user_id.encode())]
        if is_new_user:
            self.found.arms[arm].users += 1
        if arm != CONTROL:
            self._measure(self._sending, arm, recipient, is_new_user=is_new_user)

    def _measure(self, sending: _Sending, arm: str, recipient: Recipient, *, is_new_user: bool) -> None:
        words = sending.renderer.render(arm, recipient)
        if is_new_user:
            self._count_reader(words, recipient)
        for _, device in recipient.devices:
            self.found.payloads[device.carrier].add(sending.payloads.bytes_of(words, device.carrier))
        if len(self.found.previews) < PREVIEWS:
            self.found.previews.append(self._preview(sending.payloads, arm, recipient, words))

    def _count_reader(self, words: RenderedTexts, recipient: Recipient) -> None:
        """Count which translation the user reads, and whether the text loses control characters of an attribute."""
        language = words.key[1].partition(",")[0]
        self.found.languages[language] = self.found.languages.get(language, 0) + 1
        if not language:
            count_named(self.found.own_texts, recipient.locale or "")
        values = recipient.attributes.values()
        if words.texts and any(isinstance(value, str) and cleaned(value) != value for value in values):
            self._with_controls += 1

    def _preview(self, payloads: Payloads, arm: str, recipient: Recipient, words: RenderedTexts) -> Preview:
        token = masked(recipient.devices[0][1].token)
        ios = payloads.decoded(words, Gateway.APNS, token, self._now_s)
        android = payloads.decoded(words, Gateway.FCM, token, self._now_s)
        # A silent push has no notification.
        notification = android["message"].get("notification", {})
        return Preview(
            user_id=recipient.user_id,
            arm=arm,
            locale=recipient.locale,
            title=notification.get("title", ""),
            body=notification.get("body", ""),
            ios_bytes=payloads.bytes_of(words, Gateway.APNS),
            android_bytes=payloads.bytes_of(words, Gateway.FCM),
            ios=ios,
            android=android,
        )

    def _check_texts(self) -> None:
        """What the texts ask for, against what the records have."""
        if self._sending is None or not self._first:
            return
        campaign = self._sending.campaign
        self.found.faults += faults_in(campaign, self._first, with_values=True)
        names = self._counts.figures.attributes.keys() | names_of(self._first)
        # With more attributes than are counted by name nothing can be said of those that seem to be missing.
        if OTHER not in names:
            self.found.warnings += warnings_of(campaign, names)
        if self._with_controls:
            users, have = counted(self._with_controls, "user"), "has" if self._with_controls == 1 else "have"
            self.found.warnings.append(
                f"{users} {have} control characters in an attribute: they are left out of the text"
            )


def _is_not_hex(device: Device) -> bool:
    """A token that APNs cannot know. One that looks like FCM's is not meant: that has a warning of its own."""
    is_apns = device.carrier is Gateway.APNS and of_other_gateway(device) is None
    return is_apns and not _HEX.issuperset(device.token)
