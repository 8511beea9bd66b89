"""The first claim of a run: read the file's head, validate, pin the audience, judge its first records, store it all.

Later hops find everything in `state/run_id=R/campaign.json` and need not look at the head again.
"""

import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from notifier.content.render import Renderer
from notifier.content.text_checks import faults_in
from notifier.lifecycle.admitted import (
    STATE,
    STATE_GONE,
    AdmittedCampaign,
    Library,
    NotAdmitted,
    StillPreparing,
    counted_by,
)
from notifier.lifecycle.first_records import FirstRecords
from notifier.model.audience_request import has_free_sql, read_audience_source
from notifier.model.batch_file import BatchFileHead, PinnedObject
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.caps import NO_DEFAULTS, CapDefaults, RunCaps, loosened, louder, quiet_in_force, run_caps
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.kept_days import KEPT_BY_DEFAULT, KeptDays, says_when, start_fault
from notifier.model.ledger import Ledger
from notifier.model.local_time import date_of
from notifier.model.plurals import counted
from notifier.model.preparation import IN_BATCH_FILE, LANES, PreparationState
from notifier.model.run import Run, Source
from notifier.model.validation import Fault
from notifier.sending.batch_source import BrokenInput
from notifier.sending.results import Results

JUDGED_RECORDS = 1000
"""So many records are validated before anything is sent."""
MAX_BROKEN_SHARE = 0.2
"""If more of them are broken, it is the wrong file."""
EXEMPT_BELOW = 100
"""Files with fewer records may have any share of broken ones: a test file often has."""
_HOUR_MS = 3_600_000
WAIT_S = 1.0
"""The first records are waited for in steps of this."""


class Admission:
    """Opens runs: at a run's first claim it reads, validates and stores what every later hop needs.

    Args:
        faults_of: what the gateways reject in a campaign's messages.
        rehearse: the stack rehearses: nothing may reach a phone.
        is_approved: whether exactly this object was approved, where that is required.
        may_prepare: the stack has a function that prepares audiences.
        may_run_sql: SQL in the batch file itself is run; if not, only stored queries are.
        holdout: who gets no campaign, but for tests and essential ones.
        cap_defaults: what the stack sets for campaigns, read once for a run. Raises ValueError: it is set wrongly.
        kept: for how long the bucket keeps what a run goes on from; read for campaigns that say when they begin.
        is_decided: whether people approved exactly this object, whether or not that is required.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        library: Library,
        results: Results,
        ledger: Ledger,
        faults_of: Callable[[Campaign], Iterable[Fault]],
        *,
        rehearse: bool,
        is_approved: Callable[[Source], bool] = lambda _: True,
        may_prepare: bool = False,
        may_run_sql: bool = True,
        holdout: Holdout = NOBODY,
        cap_defaults: Callable[[], CapDefaults] = lambda: NO_DEFAULTS,
        is_decided: Callable[[Source], bool] = lambda _: False,
        kept: Callable[[], KeptDays] = lambda: KEPT_BY_DEFAULT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._library = library
        self._results = results
        self._ledger = ledger
        self._faults_of = faults_of
        self._rehearse = rehearse
        self._is_approved = is_approved
        self._may_prepare = may_prepare
        self._may_run_sql = may_run_sql
        self._holdout = holdout
        self._cap_defaults = cap_defaults
        self._is_decided = is_decided
        self._kept = kept
        self._now = now

    def open(self, run: Run, *, begun: bool = False) -> AdmittedCampaign:
        """What the first claim stored; at the first claim it is made and stored.

        Args:
            begun: an earlier claim settled something, or may have sent something. Releases that did not write
                `opened_at_ms` began runs too: of those only this shows that they were opened.

        Raises:
            NotAdmitted: the file cannot be sent as it is.
            StillPreparing: its audience is being made. The campaign's id is not taken yet.
        """
        stored = self._results.get_state(run.run_id, STATE)
        if stored is None:
            if begun or run.opened_at_ms is not None:
                raise NotAdmitted(STATE_GONE)
            self._open_first(run)
            # Read back, because another claim may have stored its own a moment before, and the first one counts.
            stored = self._results.get_state(run.run_id, STATE)
        if stored is None:
            raise NotAdmitted(STATE_GONE)
        admitted = msgspec.json.decode(stored, type=AdmittedCampaign)
        if run.opened_at_ms is None:
            # After the state is stored, never before: killed in between, the next claim finds the state and notes it.
            self._ledger.note_opened(run.run_id, counted_by(admitted))
        return admitted

    def _open_first(self, run: Run) -> None:
        if not self._is_approved(run.source):
            raise NotAdmitted(
                "not_approved: this stack sends only what was approved (RequireApproval); nobody has approved this file"
            )
        head = self._library.head(run.source)
        campaign = self._campaign_of(head)
        # Before anything else can reject the file: people look for its run by the campaign.
        self._ledger.name_campaign(run.run_id, campaign.id)
        self._check_start(campaign, run)
        admitted = self._as_of_now(run, head, campaign)
        self._judge(admitted)
        self._enter(run, admitted)

    def _as_of_now(self, run: Run, head: BatchFileHead, campaign: Campaign) -> AdmittedCampaign:
        """The campaign with what is set and stored at this moment: it holds for the run, whatever changes later."""
        rehearse = self._rehearse or campaign.dry_run
        defaults = self._defaults()
        caps = self._caps_of(campaign, run, defaults, rehearse=rehearse)
        try:
            quiet = quiet_in_force(campaign, defaults)
        except ValueError as error:
            raise NotAdmitted(f"broken campaign: {error}") from None
        asked = _asked_of_preparation(campaign, caps, has_users=head.audience is None)
        is_inline = head.audience is None and not asked
        prepared = ""
        if is_inline:
            parts: tuple[PinnedObject, ...] = (self._library.pin_source(run.source),)
        else:
            raw = _users_of(run.source) if head.audience is None else head.audience
            parts, prepared = self._parts_of(raw, run, asked)
        exclude = self._exclude_of(campaign, run)
        holdout = NOBODY if campaign.test or campaign.essential else self._holdout
        day = date_of(campaign.local_time, self._now()) if campaign.is_timed and campaign.local_time else None
        return AdmittedCampaign(
            campaign, parts, is_inline, exclude, rehearse,
            prepared=prepared, holdout=holdout, caps=caps, day=day, quiet=quiet,
        )  # fmt: skip

    def _enter(self, run: Run, admitted: AdmittedCampaign) -> None:
        """Write down that the run begins. Each write may be repeated: a claim that dies between two does them again."""
        campaign, rehearse = admitted.campaign, admitted.rehearse
        # After the file was validated: a rejected one does not use its campaign's id up. Nor does a rehearsal.
        if not rehearse and not self._ledger.take_campaign(campaign.id, run.run_id, again=campaign.again):
            raise NotAdmitted(
                f"campaign_exists: campaign {campaign.id!r} was sent by another run already; "
                "give it a new id; campaign.again: true sends it to everybody in the file once more"
            )
        if campaign.winner is not None and campaign.remainder_of is None and not rehearse:
            # Before anything is sent: however the run ends, what becomes of the remainder is decided.
            self._ledger.await_decision(run.run_id, campaign.winner.decide_after_h * _HOUR_MS)
        if not admitted.inline:
            self._ledger.name_audience(run, campaign.id, ((part.bucket, part.key) for part in admitted.parts))
        # Last: from here on no claim reads the batch file's head again.
        self._results.put_state(run.run_id, STATE, admitted)

    def _parts_of(self, raw: object, run: Run, added: Mapping[str, object]) -> tuple[tuple[PinnedObject, ...], str]:
        """The objects that hold the users, once they are there; of a prepared audience its manifest's key, too.

        Args:
            added: what the run itself asks of its preparation; nothing where it need not be prepared.
        """
        try:
            audience = read_audience_source(raw)
        except BrokenCampaign as error:
            raise NotAdmitted(f"broken audience: {error}") from None
        # Lanes are ranges of a prepared audience's parts: a file that asks for some is prepared first.
        if audience is not None and not added:
            return self._library.pin_parts(audience, run.source.bucket, "audience"), ""
        if not self._may_prepare:
            raise NotAdmitted("audience: this stack prepares no audiences (AUDIENCE_FUNCTION is not set)")
        if not self._may_run_sql and has_free_sql(raw):
            raise NotAdmitted(
                "audience.sql: this stack runs stored queries only (RequireApproval): store it as queries/NAME.sql"
            )
        request = msgspec.json.encode({**raw, **added} if isinstance(raw, dict) else raw).decode()
        preparation = self._ledger.ask_for_preparation(run.run_id, request, run.source.bucket)
        if not preparation.state.is_over:
            raise StillPreparing(preparation.words)
        # Seen: no sweeper has to see to it that the lane hears of it.
        self._ledger.end_preparation(run.run_id)
        if preparation.state is not PreparationState.PREPARED:
            raise NotAdmitted(f"audience: {preparation.reason or 'its preparation was cancelled'}")
        return self._library.prepared_parts(preparation.manifest), preparation.manifest

    def _defaults(self) -> CapDefaults:
        """What the stack sets for campaigns. Raises NotAdmitted."""
        try:
            return self._cap_defaults()
        except ValueError as error:
            raise NotAdmitted(f"settings: {error}") from None

    def _caps_of(self, campaign: Campaign, run: Run, defaults: CapDefaults, *, rehearse: bool) -> RunCaps:
        """What the run is judged by and counted in. Raises NotAdmitted."""
        caps = run_caps(campaign, defaults, rehearse=rehearse)
        if caps.caps and not caps.timezone:
            raise NotAdmitted(
                "campaign.caps: days are counted by users' calendars, and this stack has no zone for users without one "
                "(set the parameter DefaultTimezone, as Europe/London)"
            )
        if (looser := (*loosened(campaign, defaults), *louder(campaign, defaults))) and not self._is_decided(
            run.source
        ):
            raise NotAdmitted(
                f"not_approved: {'; '.join(looser)}. Only approvers allow that (ask on the approval pages, or keep to "
                "what the stack sets)"
            )
        return caps

    def _check_start(self, campaign: Campaign, run: Run) -> None:
        """Refuse what the sweeper would cancel before it begins. Raises NotAdmitted."""
        if not says_when(campaign):
            return
        # By the time when the file was dropped, as the sweeper counts: later claims of this run say the same.
        if fault := start_fault(campaign, self._kept(), run.created_at_ms / 1000):
            raise NotAdmitted(f"broken campaign: {fault}")

    def _exclude_of(self, campaign: Campaign, run: Run) -> tuple[PinnedObject, ...]:
        return self._library.pin_parts(campaign.exclude, run.source.bucket, "exclude") if campaign.exclude else ()

    def _campaign_of(self, head: BatchFileHead) -> Campaign:
        try:
            campaign = read_campaign(head.campaign)
            Renderer(campaign)
            faults = tuple(self._faults_of(campaign))
            if faults:
                raise BrokenCampaign(faults)
        except BrokenCampaign as error:
            raise NotAdmitted(f"broken campaign: {error}") from None
        return campaign

    def _judge(self, admitted: AdmittedCampaign) -> None:
        """Reject the file if too many of its first records are broken, or none has a device."""
        stream = self._library.stream_from_start(admitted)
        records: list[object] = []
        try:
            while len(records) < JUDGED_RECORDS and not stream.ended:
                taken = stream.take(JUDGED_RECORDS - len(records))
                if not taken:
                    stream.wait(WAIT_S)
                records += taken
        except BrokenInput as error:
            raise NotAdmitted(str(error)) from None
        finally:
            stream.close()
        if faults := tuple(faults_in(admitted.campaign, records)):
            raise NotAdmitted(f"broken campaign: {BrokenCampaign(faults)}")
        first = FirstRecords(records, Renderer(admitted.campaign))
        share = first.broken / len(records) if records else 0.0
        if share > MAX_BROKEN_SHARE and len(records) >= EXEMPT_BELOW:
            raise NotAdmitted(f"wrong file: {share:.0%} of the first {len(records)} records are broken: {first.why()}")
        # Without a device among so many records the file is a small one, or the wrong one.
        if not first.has_devices:
            raise NotAdmitted(_no_devices(len(records), first))


def _asked_of_preparation(campaign: Campaign, caps: RunCaps, *, has_users: bool) -> dict[str, object]:
    """What the campaign asks of its audience's preparation; nothing where it needs none but what the file may name.

    Args:
        has_users: the batch file holds its users itself.
    """
    # A winner's run sends to the same users as its test: they are made an audience that both can name. Caps are
    # judged by the final cut, which only a prepared audience has; and windows, as lanes, are parts of one.
    is_asked_for_twice = campaign.winner is not None and has_users
    is_prepared = (campaign.lanes or 1) > 1 or is_asked_for_twice or bool(caps.caps) or campaign.is_timed
    if not is_prepared:
        return {}
    return {LANES: campaign.lanes or 1, **({IN_BATCH_FILE: True} if has_users else {})}


def _users_of(source: Source) -> dict[str, object]:
    """An audience of the users in a batch file itself, in exactly this version."""
    version = {"version_id": source.version_id} if source.version_id else {}
    return {"parts": [{"bucket": source.bucket, "key": source.key, "etag": source.etag, **version}]}


def _no_devices(records: int, first: FirstRecords) -> str:
    """Why an audience without a valid device is rejected."""
    if not records:
        return "no_users: the audience is empty, there is nobody to send to"
    return f"no_valid_device: of {counted(records, 'record')} none can be sent to: {first.why()}"
