"""What privacy officers may ask for: who may, what is written down first, and the work itself.

Who asks is named by the pages, which have signed them in; whether that is an officer is judged here once more. A
look-up is in the trail before anything is read, an erasure's users are suppressed before anything is erased: whatever
breaks off later, both are on record.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from notifier.model.plurals import counted
from notifier.model.record_reading import MAX_USER_ID_BYTES
from privacy.erase import Erased, erase, seconds_for
from privacy.id_shapes import is_too_long
from privacy.jobs import Job, Jobs, JobState, new_id
from privacy.places import OUT_OF_REACH_WORDS
from privacy.runs import is_run
from privacy.stack import Stack, read_versions
from privacy.waiting import waited_for
from privacy.whom import key_of, suppress
from reporting.person import Found, Plan, find, plan
from reporting.trail import LookUp, hashed, note, read_trail

MAX_USERS = 1_000
"""Users of one erasure from the pages."""
NAMED = 50
"""Of what is left so many objects are named: a job is one item of DynamoDB, of 400 kB at most."""
MAX_ANSWER_BYTES = 4_000_000
"""Lambda answers with 6 MB at most."""
_TOO_MUCH = "this user has too much for a page. An engineer can export it (notifier find USER --export FILE)"
_REHEARSED = "dry_run"
"""The reason of a row of a rehearsal."""
_CENT, _SHOWN_MB = 0.01, 0.05
"""Less than these is said as such."""
REPORT_EVERY_MS = 2_000
RESERVE_MS = 2_000
"""Time that is left to write down how far it came."""
BY_COMPUTER = "An engineer brings it to its end (notifier erase --again)."


class Refused(Exception):
    """What cannot be done. The message is for the officer."""


class TimeUp(Exception):
    """The function's time is over before the work is."""


class Done(msgspec.Struct, frozen=True):
    """What came of a job. `waits` is true where nothing is left but what a run under way needs."""

    state: JobState
    words: str
    waits: bool = False

    @property
    def needs_a_person(self) -> bool:
        """Whether nothing of this function's own will bring it to its end."""
        return self.state is not JobState.DONE and not self.waits


class PrivacyService:
    """Look-ups, exports and erasures.

    Args:
        officers: addresses, in lower case.
        start: has a piece of work done by another invocation of this function.
        now_ms: the time, in milliseconds since the epoch.
        work_ms: how long such an invocation may take.
    """

    def __init__(
        self,
        stack: Stack,
        jobs: Jobs,
        officers: tuple[str, ...],
        start: Callable[[dict[str, Any]], object],
        now_ms: Callable[[], int],
        work_ms: int,
    ) -> None:
        self._stack = stack
        self._jobs = jobs
        self._officers = officers
        self._start = start
        self._now_ms = now_ms
        self._work_ms = work_ms

    # -- what an officer asks for -------------------------------------------------------------------------------------

    def carry_out(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked for, or begin it. Raises Refused."""
        by = str(event.get("by", "")).strip().lower()
        # The pages ask too; a page's mistake must not open what everybody's data are behind.
        if by not in self._officers:
            raise Refused("only privacy officers may do this")
        match event.get("action"):
            case "plan":
                planned = plan(self._stack.s3, self._stack.bucket, _user_id(event), _since_s(event))
                return {"words": cost_in_words(planned), "objects": planned.objects}
            case "find":
                return self._find(_user_id(event), _since_s(event), by)
            case "export":
                return self._export(str(event.get("job", "")), by)
            case "erase":
                return self._erase(_user_ids(event), by)
            case "job":
                return self._shown(str(event.get("job", "")), by)
            case "trail":
                return {"lookups": msgspec.to_builtins(read_trail(self._stack.s3, self._stack.bucket, _month(event)))}
        raise Refused("nothing that is known here was asked for")

    def _find(self, user_id: str, since_s: float, by: str) -> dict[str, Any]:
        self._note("find", by, [user_id])
        job = self._begun("find", by)
        self._start({"work": job.id, "user_id": user_id, "since_s": since_s})
        return {"job": job.id}

    def _export(self, id_: str, by: str) -> dict[str, Any]:
        self._own(id_, by)
        found = self._jobs.found(id_)
        if found is None:
            raise Refused("this look-up is gone: they are kept for a day. Look the user up again")
        self._note("export", by, [found.user_id], len(found.rows))
        made = {"made_at": _iso(self._now_ms()), **msgspec.to_builtins(found)}
        body = msgspec.json.format(msgspec.json.encode(made), indent=2)
        if len(body) > MAX_ANSWER_BYTES:
            raise Refused(_TOO_MUCH)
        return {"json": body.decode()}

    def _erase(self, user_ids: list[str], by: str) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._now_ms() / 1000, UTC)
        suppress(self._stack.s3, self._stack.bucket, self._stack.suppression, user_ids, now)
        self._note("erase", by, user_ids)
        job = self._begun("erase", by)
        # No ids: whoever was ever erased is in the list as a hash, and is looked for.
        self._start({"work": job.id})
        return {"job": job.id}

    def _shown(self, id_: str, by: str) -> dict[str, Any]:
        job = self._own(id_, by)
        if job.state is JobState.RUNNING and self._now_ms() > job.until_ms:
            job = msgspec.structs.replace(job, state=JobState.FAILED, words="It broke off. Start it once more.")
        answer: dict[str, Any] = {"job": msgspec.to_builtins(job)}
        if job.what == "find" and job.state is JobState.DONE:
            found = self._jobs.found(id_)
            if found is None:
                raise Refused("this look-up is gone: they are kept for a day. Look the user up again")
            answer["found"] = msgspec.to_builtins(found)
            if len(msgspec.json.encode(answer)) > MAX_ANSWER_BYTES:
                raise Refused(_TOO_MUCH)
        return answer

    def _own(self, id_: str, by: str) -> Job:
        job = self._jobs.get(id_)
        # What another officer looked up is theirs: whoever wants to know it looks it up, and is in the trail.
        if job is None or job.by != by:
            raise Refused("there is no such look-up, or it is another officer's")
        return job

    def _begun(self, what: str, by: str) -> Job:
        now_ms = self._now_ms()
        job = Job(new_id(), what, by, now_ms, now_ms + self._work_ms)
        self._jobs.put(job)
        return job

    def _note(self, what: str, by: str, user_ids: list[str], rows: int = 0) -> None:
        s3, bucket = self._stack.s3, self._stack.bucket
        now = datetime.fromtimestamp(self._now_ms() / 1000, UTC)
        key = key_of(s3, bucket, self._stack.suppression)
        for user_id in user_ids:
            entry = LookUp(now.isoformat(timespec="seconds"), by, what, hashed(user_id, key), 0, rows)
            note(s3, bucket, entry, now)

    # -- the work -----------------------------------------------------------------------------------------------------

    def work(self, event: Mapping[str, Any], remaining_ms: Callable[[], int]) -> Done | None:
        """One job, from its start to its end. None where it was worked on already."""
        job = self._jobs.get(str(event["work"]))
        if job is None or job.state is not JobState.RUNNING:
            return None
        progress = _Progress(self._jobs, job, self._now_ms, remaining_ms)
        try:
            done = self._done(event, job, progress, remaining_ms)
        except TimeUp:
            done = Done(JobState.UNFINISHED, f"It takes longer than this function may. {BY_COMPUTER}")
        except Exception:
            self._jobs.put(
                msgspec.structs.replace(
                    job, state=JobState.FAILED, words="It failed. An engineer finds the reason in the log."
                )
            )
            raise
        self._jobs.put(msgspec.structs.replace(progress.job, state=done.state, words=done.words))
        return done

    def _done(self, event: Mapping[str, Any], job: Job, progress: "_Progress", remaining_ms: Callable[[], int]) -> Done:
        if job.what == "erase":
            return self._erased(job.by, progress, remaining_ms)
        s3, bucket, user_id = self._stack.s3, self._stack.bucket, str(event["user_id"])
        planned = plan(s3, bucket, user_id, float(event["since_s"]))
        found = find(s3, bucket, user_id, planned, lambda done, total: progress("reading", done, total))
        self._jobs.keep(job.id, found)
        return Done(JobState.DONE, found_in_words(found))

    def _erased(self, by: str, progress: "_Progress", remaining_ms: Callable[[], int]) -> Done:
        versions = read_versions(self._stack)
        needed_ms = seconds_for(versions) * 1000
        if needed_ms > remaining_ms() - RESERVE_MS:
            # Half an erasure is repeated from its beginning: it is better not begun.
            much = f"{sum(len(some) for some in versions.values()):,} versions of files"
            why = f"For the rest there is too little time here: it reads {much}."
            return Done(JobState.UNFINISHED, f"They get no push any more. {why} {BY_COMPUTER}")
        now = datetime.fromtimestamp(self._now_ms() / 1000, UTC)
        whom = suppress(self._stack.s3, self._stack.bucket, self._stack.suppression, (), now)
        found = erase(self._stack, whom, by, now, progress)
        state = JobState.DONE if found.is_done else JobState.UNFINISHED
        return Done(state, erased_in_words(found), waits=bool(found.waiting) and not found.left)

    def run_ended(self, run_id: str, remaining_ms: Callable[[], int]) -> Done | None:
        """Erase again where an erasure has waited for this run. None where none has."""
        if run_id not in waited_for(self._stack.s3, self._stack.bucket):
            return None
        return self._again("a run's end", remaining_ms)

    def day_ended(self, remaining_ms: Callable[[], int]) -> Done | None:
        """Erase again where an erasure waits for anything: not only runs are, and not every end is heard of."""
        if not waited_for(self._stack.s3, self._stack.bucket):
            return None
        return self._again("the clock", remaining_ms)

    def _again(self, by: str, remaining_ms: Callable[[], int]) -> Done | None:
        return self.work({"work": self._begun("erase", by).id}, remaining_ms)


class _Progress:
    """Writes down how far a job is, now and then; raises TimeUp before the function's time is over."""

    def __init__(self, jobs: Jobs, job: Job, now_ms: Callable[[], int], remaining_ms: Callable[[], int]) -> None:
        self.job = job
        self._jobs = jobs
        self._now_ms = now_ms
        self._remaining_ms = remaining_ms
        self._written_ms = now_ms()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Report so many of so many."""
        if self._remaining_ms() < RESERVE_MS:
            raise TimeUp
        self.job = msgspec.structs.replace(self.job, step=step, done=done, total=total)
        if (now_ms := self._now_ms()) - self._written_ms >= REPORT_EVERY_MS:
            self._written_ms = now_ms
            self._jobs.put(self.job)


_BECAME = (
    ("accepted", "accepted by Apple or Google"),
    ("rehearsed", "in a rehearsal, which sends nothing"),
    ("rejected", "refused by Apple or Google"),
    ("failed", "not sent"),
    ("held", "held back for the control group"),
)
"""What became of a push, in the order in which it is said."""


def cost_in_words(planned: Plan) -> str:
    """What a look-up reads, before anything is read."""
    if not planned.objects:
        return "Nothing is kept of that time: there is nothing to read."
    cost = "less than a cent" if planned.usd < _CENT else f"about {planned.usd:.2f} US dollars"
    size = f"{planned.megabytes:,.1f} MB" if planned.megabytes >= _SHOWN_MB else "less than 0.1 MB"
    return (
        f"It reads {counted(planned.objects, 'file')} of {counted(len(planned.runs), 'campaign')}, {size}. "
        f"That takes about {_long(planned.seconds)}, and costs {cost}."
    )


def _long(seconds: int) -> str:
    return counted(seconds, "second") if seconds < 120 else counted(round(seconds / 60), "minute")


def found_in_words(found: Found) -> str:
    """What a look-up found, in a sentence: what was sent, and what was not."""
    if not found.rows and not found.excluded:
        return "Nothing was sent to this user id, or what was is not kept any more."
    kinds = Counter("rehearsed" if row.reason == _REHEARSED else row.outcome for row in found.rows)
    said = [f"{counted(kinds[kind], 'push', 'pushes')} {words}" for kind, words in _BECAME if kinds[kind]]
    # The noun once: 2 pushes accepted by Apple or Google, 1 not sent.
    rest = [one.replace(" pushes ", " ", 1).replace(" push ", " ", 1) for one in said[1:]]
    campaigns = counted(len({row.campaign_id for row in found.rows}), "campaign")
    sent = [f"In {campaigns}: {', '.join([*said[:1], *rest])}."] if said else []
    # A worker that took over may have written the same entry once more.
    runs = {one.run_id for one in found.excluded}
    left_out = [f"Left out of {counted(len(runs), 'campaign')}."] if runs else []
    return " ".join([*sent, *left_out])


def erased_in_words(found: Erased) -> str:
    """What came of an erasure, and what it cannot reach."""
    deleted = counted(found.objects, "version")
    words = [f"Taken out of {counted(len(found.runs), 'campaign')}; {deleted} of files deleted for good."]
    runs = sum(map(is_run, found.waits_for))
    waits = [f"{counted(runs, 'campaign')} under way"] * (runs > 0)
    # Not all of these become a campaign, and none says so at once.
    if others := len(found.waits_for) - runs:
        waits.append(f"{counted(others, 'audience')} being prepared, counted or decided on")
    if waits:
        when = "within a day after that" if others else "when that is over"
        words.append(f"The rest waits for {' and '.join(waits)}, and is erased by itself {when}.")
    words += [f"Not erased: {key}: {why}." for key, why in list(found.left.items())[:NAMED]]
    if (more := len(found.left) - NAMED) > 0:
        words.append(f"And {more:,} more. An engineer sees all of them (notifier erase --again).")
    if found.is_done:
        words.append("Nothing of them is left here.")
    return " ".join([*words, "Out of reach: " + "; ".join(OUT_OF_REACH_WORDS) + "."])


def _user_id(event: Mapping[str, Any]) -> str:
    user_id = str(event.get("user_id", "")).strip()
    if not user_id or is_too_long(user_id):
        most = f"at most {MAX_USER_ID_BYTES} characters, fewer where some are not plain letters"
        raise Refused(f"give a user id of {most}, as your audiences have it")
    return user_id


def _user_ids(event: Mapping[str, Any]) -> list[str]:
    given = event.get("user_ids")
    found = [_user_id({"user_id": one}) for one in given] if isinstance(given, list) else []
    if not 0 < len(found) <= MAX_USERS:
        raise Refused(f"give 1 to {MAX_USERS:,} user ids")
    return list(dict.fromkeys(found))


def _since_s(event: Mapping[str, Any]) -> float:
    text = str(event.get("since", "") or "")
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() if text else 0.0
    except ValueError:
        raise Refused("since: not a day. Write it as 2026-11-01") from None


def _month(event: Mapping[str, Any]) -> str:
    text = str(event.get("month", ""))
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).strftime("%Y-%m")
    except ValueError:
        raise Refused("month: write it as 2026-11") from None


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
