"""Which runs are over, and which objects each run sent. What is still needed is not touched before it has ended."""

import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.events.triggers import SUFFIXES
from notifier.model.batch_file import EVENT_LASTS_S, PinnedObject
from notifier.model.cut import CutParts
from notifier.model.goal_source import PREFIX as GOALS
from notifier.model.run import source_of
from notifier.preparation_items import CONVERSIONS
from privacy.records import NOT_JSON, Unreadable, unpacked
from privacy.under_way import OCCURRENCE, UnderWay, read_table
from privacy.versions import Version, versions_under
from reporting.proof.conclusion import CannotProve, NotProved
from reporting.proof.erased import Erasures
from reporting.proof.evidence import Admitted, find_source, read_erasures, read_object, read_summary

BATCHES = "batches/"
DATE = "{date}"
"""In a file's name in a goal's declaration: each day of the run's windows."""
PREPARED = "audiences/prepared/"
"""Where a part has a manifest, which is needed with it: `audiences/prepared/ID/_manifest.json`."""
_RUN_KEY = re.compile(r"[a-z-]+/run_id=([0-9a-f]{20})/")
_RUN_ID = re.compile(r"[0-9a-f]{20}\Z")
_CAPS_KEY = re.compile(r"caps/group=[^/]+/day=[^/]+/run_id=([0-9a-z-]+)\.parquet\Z")
_WILD = re.compile(r"[*?\[]")
_MADE_FROM = ("query", "sql")
"""Members of an audience for which its file does not say which files are read."""


class _Asked(msgspec.Struct, frozen=True):
    """What a count of conversions is asked for: those of one run."""

    run_id: str


class _Names(msgspec.Struct, frozen=True):
    """The members of a batch file that name others. Its users, who may be a million, are passed over."""

    audience: Any = None
    campaign: Any = None


def _summary_key(run_id: str) -> str:
    return f"summaries/run_id={run_id}/summary.json"


def _state_key(run_id: str) -> str:
    return f"state/run_id={run_id}/campaign.json"


class Sent(msgspec.Struct, frozen=True):
    """What one run read: audiences, each a list of parts in their order; lists of ids; its batch file."""

    run_id: str
    audiences: tuple[tuple[PinnedObject, ...], ...] = ()
    lists: tuple[PinnedObject, ...] = ()
    prepared: str = ""
    erasures: Erasures = Erasures()


class Open:
    """What is not over, and what must be left to it: runs, by their ids; and what becomes a run, or is counted of one.

    `words` say of each until when something is left to it.
    """

    def __init__(self) -> None:
        self.run_ids: set[str] = set()
        """Runs that have begun."""
        self.words: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._results: dict[str, str] = {}
        """By the run of which the results are left."""
        self._everything: set[str] = set()
        self.gone: set[str] = set()
        """Of what an earlier look found, what this one did not find any more."""

    def take(self, client: Any, bucket: str, run_id: str, batch_file: str | None) -> None:
        """Keep what a run reads that has begun."""
        self.run_ids.add(run_id)
        self._results[run_id] = run_id
        self.words[run_id] = f"until run {run_id} has ended"
        if batch_file:
            self._keys[batch_file] = run_id
        sent = _sent(client, bucket, run_id, Erasures())
        if sent is None or not batch_file:
            # Its audience is being prepared, or what it began with is not known: every file may be its own.
            self._everything.add(run_id)
            return
        self._leave(sent, run_id)

    def take_test(self, client: Any, bucket: str, run_id: str, batch_file: str | None) -> None:
        """Keep a test that is over while its remainder is sent yet, unless what it began with is gone."""
        name = f"decision:{run_id}"
        if self._take_closed(client, bucket, run_id, batch_file, name):
            self.words[name] = f"until the winner of the test {run_id} is decided"

    def take_counted(self, client: Any, bucket: str, run_id: str, batch_file: str | None) -> None:
        """Keep a run that is over while its rows are counted."""
        name = f"caps:{run_id}"
        if self._take_closed(client, bucket, run_id, batch_file, name):
            self.words[name] = f"until the users of run {run_id} are counted for caps"

    def _take_closed(self, client: Any, bucket: str, run_id: str, batch_file: str | None, name: str) -> bool:
        """Keep all of a run that is over: it has one tombstone for all of it, so that a user is counted once."""
        sent = _sent(client, bucket, run_id, Erasures())
        if sent is None:
            return False
        self._results[run_id] = name
        if batch_file:
            self._keys[batch_file] = name
        self._leave(sent, name)
        return True

    def take_preparing(self, client: Any, bucket: str, name: str, request: str) -> None:
        """Keep every file while something is prepared that is no run yet: any may be read.

        Of a count of conversions only what its goal's declaration names, where that names files alone.
        """
        names = _read_by_count(client, bucket, request) if name.startswith(CONVERSIONS) else None
        if names is None:
            self._everything.add(name)
        else:
            self._leave_named(names, name)
        is_occurrence = name.startswith(f"{OCCURRENCE}:")
        what = f"the audience of {_in_words(name)}" if is_occurrence else f"what the pages have asked for ({name})"
        self.words[name] = f"until {what} is prepared"

    def take_prepared(self, name: str, manifest: str) -> None:
        """Keep the prepared audience of an occurrence that is not sent yet."""
        self._folders[manifest.rpartition("/")[0] + "/"] = name
        self.words[name] = f"until it is decided whether {_in_words(name)} is sent"

    def take_unopened(self, bucket: str, version: Version, run_id: str, body: bytes) -> None:
        """Keep a batch file whose run has not begun, and what it names."""
        self._keys[version.key] = run_id
        self.words[run_id] = f"until the run of {version.key}, which has not begun, has ended"
        names = _named_in(body, bucket)
        if names is None:
            self._everything.add(run_id)
        else:
            self._leave_named(names, run_id)

    def _leave_named(self, names: Iterable[str], until: str) -> None:
        for name in names:
            if wild := _WILD.search(name):
                self._folders[name[: wild.start()]] = until
            elif name.endswith("/"):
                self._folders[name] = until
            else:
                self._leave_part(name, until)

    def carry(self, earlier: "Open") -> None:
        """Take over what an earlier look has left: what that was left to may be over, and the object not erased."""
        self.gone |= earlier.words.keys() - self.words.keys()
        # What this look found goes first.
        for own, others in (
            (self.words, earlier.words), (self._keys, earlier._keys), (self._folders, earlier._folders),
            (self._results, earlier._results),
        ):  # fmt: skip
            for key, value in others.items():
                own.setdefault(key, value)
        self._everything |= earlier._everything

    def _leave(self, sent: "Sent", name: str) -> None:
        for part in (*(one for some in sent.audiences for one in some), *sent.lists):
            self._keys[part.key] = name
        if sent.prepared:
            self._folders[sent.prepared.rpartition("/")[0] + "/"] = name

    def _leave_part(self, key: str, name: str) -> None:
        self._keys[key] = name
        if key.startswith(PREPARED):
            folder = PREPARED + key.removeprefix(PREPARED).partition("/")[0] + "/"
            self._folders[folder] = name

    def keeps_results_of(self, run_id: str) -> bool:
        """Whether what a run has written is left as it is."""
        return run_id in self._results

    def waits_for(self, key: str) -> str | None:
        """What an object is left to; None if it may be replaced."""
        if run_id := run_counted(key):
            # It counts again when it ends early.
            return self._results.get(run_id)
        if found := _RUN_KEY.search(key.removeprefix("audiences/")):
            return self._results.get(found[1])
        if key.startswith((BATCHES, "audiences/", "standing/")):
            named = self._keys.get(key) or next(
                (id_ for one, id_ in self._folders.items() if key.startswith(one)), None
            )
            return named or min(self._everything - self.gone or self._everything, default=None)
        return None


def _in_words(preparation: str) -> str:
    """An occurrence, or a preview of one, by the name of its preparation. Of any other form it raises nothing."""
    name, _, rest = preparation.partition(":")[2].partition(":")
    stamp, _, attempt = rest.partition(":")
    return f"the schedule {name} of {stamp}" if attempt else f"a preview of the schedule {name}"


def _named_in(body: bytes, bucket: str) -> list[str] | None:
    """The keys, folders and patterns that a batch file names; None where it does not say what is read."""
    try:
        file = msgspec.json.decode(unpacked(body).removeprefix(BOM_UTF8), type=_Names)
    except (Unreadable, *NOT_JSON):
        # The worker may read it all the same, and may refuse it, which its run then says.
        return None
    # A campaign's goal has a query, too, of which no run waits for an answer.
    exclude = file.campaign.get("exclude") if isinstance(file.campaign, dict) else None
    texts = [*_texts(file.audience), *_texts(exclude)]
    if any(name in _MADE_FROM for name, _ in texts):
        return None
    return _own(bucket, (text for _, text in texts))


def _own(bucket: str, names: Iterable[str]) -> list[str]:
    """Those that are read from the stack's bucket."""
    own = (name.removeprefix(f"s3://{bucket}/") for name in names)
    return [name for name in own if name.startswith(("audiences/", "standing/"))]


def _read_by_count(client: Any, bucket: str, request: str) -> list[str] | None:
    """The keys, folders and patterns that a count of conversions reads; None where that is not known."""
    try:
        run_id = msgspec.json.decode(request, type=_Asked).run_id
        began = read_object(client, bucket, _state_key(run_id))
        goal = msgspec.json.decode(began, type=Admitted).campaign.goal if began is not None else None
        body = read_object(client, bucket, f"{GOALS}{goal.name}.json") if goal is not None else None
        if body is None:
            return None
        declared = msgspec.json.decode(body, type=dict[str, Any])
    except NOT_JSON:
        return None
    if any(name in _MADE_FROM for name, _ in _texts(declared)):
        return None
    # Each day's file, whatever the days.
    names = _own(bucket, (text for _, text in _texts(declared)))
    return [name.replace(DATE, "*") for name in names]


def _texts(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """All texts of a document, each with the member's name that it or a list or an object around it has."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key, ""
            yield from _texts(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, name)


def run_counted(key: str) -> str:
    """The run whose users an object counts for caps; "" for any other object."""
    found = _CAPS_KEY.match(key)
    return found[1] if found else ""


class Runs(msgspec.Struct, frozen=True):
    """All runs of a stack. `over` are the ids of those from which this erasure may erase, and of some others."""

    closed: tuple[Sent, ...]
    open: Open
    over: frozenset[str]


def read_runs(
    client: Any, dynamodb: Any, bucket: str, table: str, versions: Mapping[str, Sequence[Version]], now_s: float
) -> Runs:
    """Every run that the ledger or the bucket knows. One with a summary is over."""
    ledger = read_table(dynamodb, table)
    known = set(ledger.runs)
    over = {run_id for run_id, run in ledger.runs.items() if run.is_closed}
    for key, some in versions.items():
        if found := _RUN_KEY.match(key):
            known.add(found[1])
            if key == _summary_key(found[1]) and any(one.latest for one in some):
                over.add(found[1])
    # Its item, its summary and what it began with have expired: nobody goes on with it.
    over |= {run_id for run_id in known - ledger.runs.keys() if _state_key(run_id) not in versions}
    batches = [one for key, some in versions.items() if key.startswith(BATCHES) for one in some]
    open_ = _open(client, bucket, ledger, known, over, batches, now_s)
    closed = tuple(_closed(client, bucket, run_id) for run_id in sorted(over) if not open_.keeps_results_of(run_id))
    return Runs(closed, open_, frozenset(over))


def read_open(client: Any, dynamodb: Any, bucket: str, table: str, before: Runs, now_s: float) -> Open:
    """The same again, later in an erasure: what has begun meanwhile needs its files, too.

    A run that has ended meanwhile is not over for this erasure: it has not erased from it.
    """
    ledger = read_table(dynamodb, table)
    known = {*ledger.runs, *before.over, *before.open.run_ids}
    batches = list(versions_under(client, bucket, BATCHES))
    return _open(client, bucket, ledger, known, before.over, batches, now_s)


def _open(
    client: Any, bucket: str, ledger: UnderWay, known: Collection[str], over: Collection[str],
    batches: Iterable[Version], now_s: float,
) -> Open:  # fmt: skip
    open_ = Open()

    def batch_file(run_id: str) -> str | None:
        run = ledger.runs.get(run_id)
        return run.key if run and run.bucket == bucket else None

    for run_id in sorted(set(known) - set(over)):
        open_.take(client, bucket, run_id, batch_file(run_id))
    for run_id in sorted(ledger.tests & set(over)):
        open_.take_test(client, bucket, run_id, batch_file(run_id))
    for run_id in sorted(ledger.counted & set(over)):
        open_.take_counted(client, bucket, run_id, batch_file(run_id))
    for name, request in sorted(ledger.preparing.items()):
        open_.take_preparing(client, bucket, name, request)
    for name, manifest in sorted(ledger.prepared.items()):
        open_.take_prepared(name, manifest)
    for version in batches:
        run_id = source_of(bucket, version.key, version.id, version.etag).run_id
        is_due = version.key.lower().endswith(SUFFIXES) and now_s - version.at_s < EVENT_LASTS_S
        if is_due and run_id not in known:
            body = read_object(client, bucket, version.key, version.pin)
            if body is not None:
                open_.take_unopened(bucket, version, run_id, body)
    return open_


def is_run(name: str) -> bool:
    """Whether what an erasure waits for is a run, and nothing that becomes one or is counted of one."""
    return _RUN_ID.match(name) is not None


def is_over(client: Any, bucket: str, run_id: str) -> bool:
    """Whether a run has its summary by now. What is no run never has one."""
    if not is_run(run_id):
        return False
    try:
        client.head_object(Bucket=bucket, Key=_summary_key(run_id))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return False
        raise
    return True


def _closed(client: Any, bucket: str, run_id: str) -> Sent:
    erasures = read_erasures(client, bucket, run_id)
    sent = _sent(client, bucket, run_id, erasures) or Sent(run_id, erasures=erasures)
    try:
        source = find_source(client, read_summary(client, bucket, run_id), erasures)
    except (CannotProve, NotProved):
        # Expired: there is nothing to erase in it.
        return sent
    file = PinnedObject(source.bucket, source.key, source.version_id, source.etag, 0)
    if any(one.key == file.key for some in sent.audiences for one in some):
        return sent
    return msgspec.structs.replace(sent, audiences=(*sent.audiences, (file,)))


def _sent(client: Any, bucket: str, run_id: str, erasures: Erasures) -> Sent | None:
    state = read_object(client, bucket, _state_key(run_id))
    if state is None:
        return None
    admitted = msgspec.json.decode(state, type=Admitted)
    audiences = [admitted.parts]
    cut = read_object(client, bucket, f"state/run_id={run_id}/cut.json")
    if cut is not None:
        audiences.append(tuple(part.pinned for part in msgspec.json.decode(cut, type=CutParts).parts))
    return Sent(run_id, tuple(audiences), admitted.exclude, admitted.prepared, erasures)
