"""Writes the steps of requests: each with its entry in the audit trail, and in the log."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from approval.mail import failure_in_words
from approval.notifications import Notifications
from approval.people import Person
from approval.request import Request, Step
from approval.store import AuditEntry, Store

MAX_NOTE_CHARS = 500


class StepWriter:
    """Writes steps.

    Args:
        now: the time, aware.
        log: logs a step with fields. None of them holds a token or a secret.
    """

    def __init__(self, store: Store, now: Callable[[], datetime], log: Callable[..., None]) -> None:
        self._store = store
        self._now = now
        self._log = log

    @property
    def now_ms(self) -> int:
        """The time in milliseconds since the epoch."""
        return int(self._now().timestamp() * 1000)

    def log(self, action: str, **fields: Any) -> None:
        """Log a step."""
        self._log(action, **fields)

    def take(
        self, id_: str, person: Person, step: Step, change: Callable[[Request], Request], note: str = ""
    ) -> Request:
        """Take a step that has no effect but on the request."""
        _, after = self._store.change(id_, change, self.entry(step, person, note[:MAX_NOTE_CHARS]))
        self._log(step, request_id=id_, by=person.email)
        return after

    def entry(self, step: Step, person: Person, note: str = "") -> AuditEntry:
        """The audit entry of a person's step, as of now."""
        return AuditEntry(step, person.email, self.now_ms, note)

    def note_unsent(self, id_: str, person: Person, notifications: Notifications) -> None:
        """Put mails and messages that were not sent into the request's trail, with the reasons: for who looks later."""
        if failures := (*notifications.unsent, *notifications.unannounced):
            reasons = dict.fromkeys(f"{one.domain} ({failure_in_words(one.code)})" for one in failures)
            self._store.note(id_, self.entry(Step.UNSENT, person, "; ".join(reasons)[:MAX_NOTE_CHARS]))
