"""Finding, exporting and erasing a person, for privacy officers.

A function of its own has the rights for it, and judges once more who asks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from approval.functions import StackFunction, heed
from approval.people import Person
from approval.reasons import reason_in_words
from approval.request import Forbidden

_STEPS = ("find", "erase", "export")
"""What changes something: each is an entry of the trail, and the first two begin a job."""


_AT = {
    "reading": "Files read",
    "runs": "Campaigns erased from",
    "files": "Other files looked through",
    "checked": "Files checked once more",
}
"""What the function's steps are, each followed by so many of so many."""


class NoOfficers(LookupError):
    """This stack has no privacy officers, and no function for them."""


class PersonRow(msgspec.Struct, frozen=True):
    """What became of one device in one run."""

    campaign_id: str
    run_id: str
    arm: str
    platform: str
    gateway: str
    outcome: str
    at: str
    reason: str | None = None

    @property
    def device(self) -> str:
        """Its device, for people."""
        return {"ios": "iPhone or iPad", "android": "Android", "web": "browser"}.get(self.platform, self.platform)

    @property
    def became(self) -> str:
        """What became of it, for people."""
        of = {"apns": "Apple", "fcm": "Google"}.get(self.gateway, "Apple or Google")
        why = f": {reason_in_words(self.reason)}" if self.reason else ""
        match self.outcome:
            case "accepted":
                return "in a rehearsal, which sends nothing" if self.reason == "dry_run" else f"accepted by {of}"
            case "rejected":
                return f"refused by {of}{why}"
            case "failed":
                return f"not sent{why}"
            case "held":
                return "held back for the control group"
        return f"{self.outcome}{why}"


class LeftOut(msgspec.Struct, frozen=True):
    """A run that left the user out, and why. `campaign_id` is "" where nothing says it any more."""

    run_id: str
    reason: str
    campaign_id: str = ""


class FoundPerson(msgspec.Struct, frozen=True):
    """All that a stack has of one user, oldest first."""

    user_id: str
    rows: tuple[PersonRow, ...]
    excluded: tuple[LeftOut, ...] = ()


class PrivacyJob(msgspec.Struct, frozen=True):
    """A look-up or an erasure: `what` is find or erase, `state` running, done, unfinished or failed.

    `words` say what came of it. While it runs: `done` of `total` of the `step`.
    """

    id: str
    what: str
    by: str
    at_ms: int
    state: str
    words: str = ""
    step: str = ""
    done: int = 0
    total: int = 0

    @property
    def step_words(self) -> str:
        """What it is at, for people."""
        return _AT.get(self.step, self.step) or "It begins"

    @property
    def is_running(self) -> bool:
        """Whether it is under way: the page asks again."""
        return self.state == "running"


class LookedUp(msgspec.Struct, frozen=True):
    """An entry of the audit trail. The user is a keyed hash: the trail names nobody who was looked up."""

    at: str
    by: str
    what: str
    user_hmac_sha256: str


class Officers:
    """The function of the privacy officers.

    Every method raises Forbidden for anybody else, and Refused with a sentence where it cannot be done.

    Args:
        client: a boto3 Lambda client.
        function: its name or ARN; "" where this stack has none.
    """

    def __init__(self, client: Any, function: str) -> None:
        self._function = StackFunction(client, function, "This did not work.")

    @property
    def are_there(self) -> bool:
        """Whether this stack has privacy officers."""
        return self._function.is_there

    def cost(self, person: Person, user_id: str, since: str = "") -> str:
        """What a look-up has to read and what that costs, in words. It is no look-up: nothing of anybody is read."""
        return str(self._ask(person, "plan", user_id=user_id, since=since)["words"])

    def find(self, person: Person, user_id: str, since: str = "") -> str:
        """Begin a look-up, which is in the trail from now on. Returns its job's id.

        Args:
            since: only runs that sent on this day (2026-11-01, UTC) or later.
        """
        return str(self._ask(person, "find", user_id=user_id, since=since)["job"])

    def erase(self, person: Person, user_ids: Sequence[str]) -> str:
        """Suppress users at once, and begin to erase them everywhere, for good. Returns the job's id."""
        return str(self._ask(person, "erase", user_ids=list(user_ids))["job"])

    def job(self, person: Person, id_: str) -> tuple[PrivacyJob, FoundPerson | None]:
        """How far a job of this officer's is; of a look-up that is done, what it found."""
        answer = self._ask(person, "job", job=id_)
        found = msgspec.convert(answer["found"], FoundPerson) if "found" in answer else None
        return msgspec.convert(answer["job"], PrivacyJob), found

    def export(self, person: Person, id_: str) -> str:
        """What a look-up found, as the JSON of a data-subject request. In the trail as an export."""
        return str(self._ask(person, "export", job=id_)["json"])

    def trail(self, person: Person, month: str) -> tuple[LookedUp, ...]:
        """Who looked people up, exported or erased them in a month (2026-11), the latest first."""
        return msgspec.convert(self._ask(person, "trail", month=month)["lookups"], tuple[LookedUp, ...])

    def _ask(self, person: Person, action: str, **about: Any) -> Mapping[str, Any]:
        if not self._function.is_there:
            raise NoOfficers("this stack has no privacy officers")
        if not person.is_officer:
            raise Forbidden("Only privacy officers may do this.")
        answer = self._function.ask({"action": action, "by": person.email, **about}, changes=action in _STEPS)
        heed(answer)
        return answer
