"""The check of a form: its campaign and its audience, and everything that is wrong with them, by field."""

from collections.abc import Callable
from datetime import datetime

from approval.config import Settings
from approval.form import Faults, Form
from approval.form_campaign import gateway_faults, kept_faults, read_campaign_of
from approval.form_size import review_faults
from approval.goals import Goals
from approval.payload_sizes import size_faults
from approval.people import address_of, domains, mail_recipients, may_sign_in, named
from approval.placeholders import placeholder_faults
from approval.prepared import AudienceSeen
from approval.request_audiences import RequestAudiences, with_exclude
from approval.runs import Runs
from approval.user_times import late_faults
from notifier.model.campaign import Campaign
from notifier.model.goal_source import MissingText, declaration_key
from notifier.model.mailbox import is_same_person

MAX_NAMED = 20
"""Approvers that a requester may name."""
MAX_SHOWN_STRANGERS = 5


class FormCheck:
    """Checks forms.

    Args:
        now: the time, aware.
    """

    def __init__(
        self,
        settings: Settings,
        runs: Runs,
        goals: Goals,
        audiences: RequestAudiences,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._runs = runs
        self._goals = goals
        self._audiences = audiences
        self._now = now

    def read(self, form: Form, requester: str) -> tuple[Campaign | None, AudienceSeen, Faults]:
        """The form's campaign and audience, and its faults by field. No campaign without a valid form."""
        campaign, faults = read_campaign_of(form, self._now())
        if campaign is not None:
            faults |= gateway_faults(form, campaign) | kept_faults(campaign, self._settings.kept, self._now())
            try:
                campaign = self._goals.pinned(campaign)
            except MissingText as missing:
                faults["goal"] = _without_source(form.goal, missing.key)
        chosen = self._audiences.chosen(form)
        campaign = with_exclude(campaign, chosen.exclude)
        faults |= chosen.faults
        audience = self._audiences.seen(chosen)
        if campaign is not None and self._runs.knows_campaign(campaign.id):
            faults["name"] = "A campaign of this name was sent already. Give this one another name."
        for field, fault in placeholder_faults(form, audience.counts).items():
            faults.setdefault(field, fault)
        if campaign is not None:
            late = late_faults(campaign, audience.counts, self._settings.cap_defaults, self._now())
            parts = audience.prepared.parts if audience.prepared is not None else ()
            too_long = review_faults(form, campaign, parts)
            for field, fault in (too_long | size_faults(form, campaign, audience.counts) | late).items():
                faults.setdefault(field, fault)
        if fault := self._approvers_fault(named(form.approvers), requester):
            faults["approvers"] = fault
        return campaign, audience, faults

    def goals(self) -> tuple[str, ...]:
        """The goals that may be chosen."""
        return self._goals.offered()

    def _approvers_fault(self, chosen: tuple[str, ...], requester: str) -> str:
        """What is wrong with the approvers whom the requester has named, or that no approver would get a mail."""
        approvers = self._settings.approvers
        if strangers := [email for email in chosen if not address_of(email) or not may_sign_in(email, approvers)]:
            return f"Not among the approvers: {', '.join(strangers[:MAX_SHOWN_STRANGERS])}"
        if any(is_same_person(requester, email) for email in chosen):
            return "Nobody approves their own request: name another person."
        if len(chosen) > MAX_NAMED:
            return f"At most {MAX_NAMED}."
        if not mail_recipients(chosen, requester, approvers):
            where = " or ".join(domains(approvers))
            return f"No approver would get a mail. Name one at {where}." if where else "Only you may approve it."
        return ""


def _without_source(goal: str, missing: str) -> str:
    """What is wrong with a goal of whose source a text is missing."""
    key = declaration_key(goal)
    if missing == key:
        return f"No {key} says where its conversions are."
    return f"{key} names a query, and there is no {missing}."
