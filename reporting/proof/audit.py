"""The whole chain of a run's proof, recomputed from S3 alone, up to the first place where it breaks.

    approval's hash -> batch file's bytes -> pinned audience's bytes -> every user's arm -> one row for each device,
    nothing more and nothing missing -> dead tokens -> summary

It streams: one part of the audience lies on disk and one batch in memory, whatever the number of users.
"""

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from notifier.audience.local import read_local_head
from notifier.model.account import Account
from notifier.model.audience_faults import BrokenFile
from notifier.model.audience_request import read_audience_source
from notifier.model.batch_file import BatchFileHead, PinnedObject
from notifier.model.campaign import Audience, Campaign, Part
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.preparation import ManifestParts
from notifier.model.run import Source
from notifier.model.summary import Summary
from notifier.sending.batch import BATCH_SIZE
from reporting.proof.batch_audit import BatchAuditor
from reporting.proof.conclusion import Audit, CannotProve, Conclusion, NotProved, Step
from reporting.proof.cut import check_everyone, with_cut
from reporting.proof.erased import Erasures, moved_manifest
from reporting.proof.evidence import (
    COMPLETED,
    Admitted,
    find_source,
    read_admitted,
    read_erasures,
    read_object,
    read_summary,
    written_twice,
)
from reporting.proof.pinned import fetch
from reporting.proof.totals import check_totals
from reporting.proof.walk import Walk

SPLIT_FROM = 200_000
"""Users from which a second process is worth its start of a second or two."""
_FIRST_SHARE = 0.55
_REPORT_EVERY = 20
"""Batches between two reports of the progress."""

Progress = Callable[[int, int], object]
"""Is called with the users audited so far, and all of them."""


def audit(
    client: Any,
    bucket: str,
    run_id: str,
    on_progress: Progress = lambda _, __: None,
    *,
    make_client: Callable[[], Any] | None = None,
    split_from: int = SPLIT_FROM,
) -> Audit:
    """Audit a run.

    Args:
        client: a boto3 S3 client. Nothing else is asked.
        bucket: the stack's.
        make_client: makes such a client in another process, so that a large run is audited by two. It is sent there.
        split_from: the number of users from which that is done.
    """
    chain = _Chain(client, bucket, run_id, on_progress, make_client, split_from)
    try:
        chain.follow()
    except NotProved as error:
        return chain.ended(Conclusion.NOT_PROVED, error.place, error.problem)
    except CannotProve as error:
        return chain.ended(Conclusion.CANNOT_PROVE, problem=str(error))
    return chain.ended(Conclusion.PROVED)


def content_hash(campaign: Campaign, parts: tuple[Part, ...]) -> str:
    """The hash that approvers approve, restated here: an audit must not share what it audits."""
    encode = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
    return sha256(encode({"campaign": campaign, "parts": parts})).hexdigest()


class _Chain:
    """One audit: the links that hold so far, and what the next ones need."""

    def __init__(
        self,
        client: Any,
        bucket: str,
        run_id: str,
        on_progress: Progress,
        make_client: Callable[[], Any] | None,
        split_from: int,
    ) -> None:
        self._make_client = make_client
        self._split_from = split_from
        self._client = client
        self._bucket = bucket
        self._run_id = run_id
        self._on_progress = on_progress
        self._steps: list[Step] = []
        self._rows = 0
        self._erasures = Erasures()

    def ended(self, conclusion: Conclusion, place: str = "", problem: str = "") -> Audit:
        """The audit's outcome."""
        steps = tuple(self._steps)
        return Audit(self._run_id, conclusion, steps, place, problem, self._rows, self._erasures.users)

    def follow(self) -> None:
        """Check link after link. Raises NotProved and CannotProve."""
        summary = read_summary(self._client, self._bucket, self._run_id)
        admitted = read_admitted(self._client, self._bucket, summary)
        self._erasures = read_erasures(self._client, self._bucket, self._run_id)
        source = find_source(self._client, summary, self._erasures)
        # Deleted afterwards: the files have user ids and tokens.
        with tempfile.TemporaryDirectory(prefix="notifier-audit-") as folder:
            path = Path(folder) / "batch-file"
            pinned, head = self._batch_file(source, path)
            self._campaign(admitted, head, pinned)
            self._parts(admitted, head, pinned)
            prepared = admitted.parts
            admitted, left_out = with_cut(self._client, self._bucket, summary, admitted)
            self._cut(prepared, admitted, left_out, Path(folder))
            self._written_once(summary)
            account = self._batches(admitted, summary, Path(folder))
            account.add(left_out)
        place = f"s3://{self._bucket}/summaries/run_id={self._run_id}/summary.json"
        check_totals(account, summary, place, erased=self._erasures.users > 0)
        self._holds(
            "summary", f"{summary.status}: {summary.users:,} users, {summary.devices:,} devices, as the rows say"
        )

    def _holds(self, name: str, found: str) -> None:
        self._steps.append(Step(name, found))

    # -- what was decided ---------------------------------------------------------------------------------------------

    def _batch_file(self, source: Source, path: Path) -> tuple[PinnedObject, BatchFileHead]:
        """The file whose version makes the run's id; its campaign and audience have the hash that was approved."""
        pinned = PinnedObject(source.bucket, source.key, source.version_id, source.etag, 0)
        now, known = self._erasures.now(pinned)
        answer = self._client.head_object(**now.request)
        # The version was found by the run's id; its size is on record nowhere else.
        fetch(self._client, msgspec.structs.replace(now, size=answer["ContentLength"]), path, known)
        self._holds("batch file", f"{pinned.name}, {answer['ContentLength']:,} bytes: its version makes this run's id")
        try:
            head = read_local_head(path)
        except BrokenFile as error:
            raise NotProved(pinned.name, f"not a batch file: {error}") from None
        # Metadata belong to a version, and a version cannot be changed: only a new one could say something else.
        approved = answer["Metadata"].get("content-hash")
        if approved is None:
            self._holds("approval", "none: the file did not come from the approval pages")
        else:
            self._approval(pinned.name, approved, head)
        return pinned, head

    def _approval(self, name: str, approved: str, head: BatchFileHead) -> None:
        campaign = _campaign_of(name, head)
        audience = msgspec.convert(head.audience, Audience) if head.audience is not None else Audience(())
        if content_hash(campaign, audience.parts) != approved:
            raise NotProved(name, "campaign and audience in the file do not have the hash that was approved")
        self._holds("approval", f"the file's campaign and audience have the approved hash {approved[:12]}…")

    def _campaign(self, admitted: Admitted, head: BatchFileHead, pinned: PinnedObject) -> None:
        if admitted.campaign != _campaign_of(pinned.name, head):
            place = f"s3://{self._bucket}/state/run_id={self._run_id}/campaign.json"
            raise NotProved(place, "another campaign than the batch file's: message, split or limits differ")
        self._holds("campaign", f"{admitted.campaign.id}: message and split are the batch file's")

    def _parts(self, admitted: Admitted, head: BatchFileHead, pinned: PinnedObject) -> None:
        """The objects that were read are those that the file names."""
        place = f"s3://{self._bucket}/state/run_id={self._run_id}/campaign.json"
        if head.audience is None and admitted.prepared:
            # The users in the file itself, prepared: for lanes, or because a winner's run names them too.
            self._prepared(admitted, place, of=pinned)
            return
        if head.audience is None:
            # The batch file is then its own audience, in the same version.
            if [_place(part) for part in admitted.parts] != [_place(pinned)]:
                raise NotProved(place, "the users were read from elsewhere than the batch file that holds them")
            return
        try:
            audience = read_audience_source(head.audience)
        except BrokenCampaign as error:
            raise NotProved(pinned.name, str(error)) from None
        if audience is None or admitted.prepared:
            self._prepared(admitted, place, named=audience)
            return
        if len(audience.parts) != len(admitted.parts):
            raise NotProved(place, "another audience: another number of parts than the batch file names")
        for n, (named, read) in enumerate(zip(audience.parts, admitted.parts, strict=True)):
            if not _is_named(named, read, pinned.bucket):
                raise NotProved(
                    place, f"another audience: part {n} is {read.name}, the batch file names another object"
                )
        self._holds("audience", f"{len(admitted.parts):,} parts, as the batch file names and pins them")

    def _prepared(
        self, admitted: Admitted, place: str, of: PinnedObject | None = None, named: Audience | None = None
    ) -> None:
        """A prepared audience: its parts are those of its manifest, which was made of what the file has.

        Args:
            of: the batch file, where its own users were prepared.
            named: the parts that it names, where those were.
        """
        if not (key := admitted.prepared):
            raise CannotProve(f"{place}: it does not name the manifest of the prepared audience")
        # An erasure moves it, so that no later run finds it; the same audience may have been prepared again since.
        found = [read_object(self._client, self._bucket, name) for name in (moved_manifest(key), key)]
        manifests = [msgspec.json.decode(body, type=_Manifest) for body in found if body is not None]
        if not manifests:
            raise CannotProve(f"s3://{self._bucket}/{key}: the manifest of the prepared audience is gone")
        if not any(tuple(part.pinned for part in one.parts) == admitted.parts for one in manifests):
            raise NotProved(place, "another audience: the parts are not those of the prepared audience's manifest")
        made_of = manifests[0].request.get("parts")
        if of is not None or named is not None:
            wanted = [_reference(of)] if of is not None else [_named(part) for part in named.parts] if named else []
            if [_named(msgspec.convert(part, Part)) for part in made_of or ()] != wanted:
                raise NotProved(place, "another audience: it was not prepared of what the batch file has")
        self._holds("audience", f"{len(admitted.parts):,} parts of the prepared audience {manifests[0].id}")

    def _cut(self, prepared: tuple[PinnedObject, ...], admitted: Admitted, left_out: Account, folder: Path) -> None:
        """The final cut removed those on its list, and nobody else; it added nobody."""
        if prepared == admitted.parts and not left_out.excluded:
            return

        def fetched(part: PinnedObject, path: Path) -> Path:
            now, known = self._erasures.now(part)
            fetch(self._client, now, path, known)
            return path

        check_everyone((self._client, self._bucket, self._run_id), prepared, admitted.parts, fetched, folder)
        self._holds(
            "final cut", f"{left_out.excluded:,} users were left out when the run began, as listed, and nobody else"
        )

    # -- what was done ------------------------------------------------------------------------------------------------

    def _written_once(self, summary: Summary) -> None:
        """Settlements are written once. What an erasure replaced is compared by hash instead."""
        found = written_twice(self._client, self._bucket, self._run_id, summary.ended_at_ms, self._erasures)
        if found is not None:
            raise NotProved(f"s3://{self._bucket}/{found[0]}", found[1])
        self._holds("settlements", "each was written once, before the run's end")

    def _batches(self, admitted: Admitted, summary: Summary, folder: Path) -> Account:
        place = _Place(self._bucket, self._run_id, admitted, self._erasures, strict=summary.status == COMPLETED)
        shares = self._shares(place, summary, folder)
        self._rows = sum(share.rows for share in shares)
        for share in shares:
            share.raise_fault()
        account = shares[0].account
        for share in shares[1:]:
            account.add(share.account)
        self._on_progress(summary.users, summary.users)
        arms = ", ".join(f"{name} {arm.assigned:,}" for name, arm in account.arms.items())
        self._holds("arms", f"every user's by the public hash: {arms}")
        unsettled = sum(share.unsettled for share in shares)
        ended = f"; {unsettled:,} batches were not settled" if unsettled else ""
        self._holds("rows", f"{self._rows:,}: one for each device, nothing more, nothing missing{ended}")
        dead = sum(share.dead_tokens for share in shares)
        self._holds("dead tokens", f"{dead:,}, each of a rejected device of its user")
        return account

    def _shares(self, place: "_Place", summary: Summary, folder: Path) -> list["_Share"]:
        """All batches, by one process or by two: of a large run a second one takes what is behind the middle."""
        total = summary.users
        if self._make_client is None or total < self._split_from:
            return [_checked(self._client, place, folder, 0, None, lambda done: self._on_progress(done, total))]
        # The second one also reads the records before its own, and so gets fewer.
        middle = int(total * _FIRST_SHARE) // BATCH_SIZE
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            second = pool.submit(_checked_elsewhere, self._make_client, place, middle)

            def progress(done: int) -> None:
                self._on_progress(min(int(done / _FIRST_SHARE), total), total)

            first = _checked(self._client, place, folder, 0, middle, progress)
            return [first, second.result()]


class _Place(msgspec.Struct, frozen=True):
    """What a process needs to know of a run to check a share of it. Every member can be sent to another process."""

    bucket: str
    run_id: str
    admitted: Admitted
    erasures: Erasures
    strict: bool


class _Share(msgspec.Struct, frozen=True):
    """What came of some batches: their counts, and the first fault."""

    account: Account
    rows: int
    dead_tokens: int
    unsettled: int
    not_proved: tuple[str, str] | None = None
    cannot_prove: str | None = None

    def raise_fault(self) -> None:
        """Raises NotProved or CannotProve, as the share's process did."""
        if self.not_proved is not None:
            raise NotProved(*self.not_proved)
        if self.cannot_prove is not None:
            raise CannotProve(self.cannot_prove)


def _checked_elsewhere(make_client: Callable[[], Any], place: _Place, first: int) -> _Share:
    """In the second process: everything from a batch on."""
    with tempfile.TemporaryDirectory(prefix="notifier-audit-") as folder:
        return _checked(make_client(), place, Path(folder), first, None, lambda _: None)


def _checked(
    client: Any, place: _Place, folder: Path, first: int, end: int | None, on_progress: Callable[[int], object]
) -> _Share:
    walk = Walk(client, place.bucket, place.run_id, place.admitted, place.erasures, strict=place.strict)
    auditor: BatchAuditor | None = None
    not_proved = cannot_prove = None
    try:
        auditor = BatchAuditor(
            place.run_id, place.admitted.campaign, walk.excluded(), strict=place.strict, holdout=place.admitted.holdout
        )
        for number, records, objects in walk.batches(folder, first, end):
            auditor.check(number, records, objects)
            if number % _REPORT_EVERY == 0:
                on_progress(number * BATCH_SIZE + len(records))
    except NotProved as error:
        not_proved = (error.place, error.problem)
    except CannotProve as error:
        cannot_prove = str(error)
    if auditor is None:
        return _Share(Account(), 0, 0, 0, not_proved, cannot_prove)
    return _Share(auditor.account, auditor.rows, auditor.dead_tokens, auditor.unsettled, not_proved, cannot_prove)


class _Manifest(ManifestParts, frozen=True):
    """A manifest, with what was asked for."""

    request: Mapping[str, Any] = {}


def _named(part: Part) -> tuple[str | None, str, str | None, str | None]:
    return part.bucket, part.key, part.version_id, part.etag


def _reference(one: PinnedObject) -> tuple[str | None, str, str | None, str | None]:
    return one.bucket, one.key, one.version_id, one.etag


def _campaign_of(name: str, head: BatchFileHead) -> Campaign:
    try:
        return read_campaign(head.campaign)
    except BrokenCampaign as error:
        raise NotProved(name, f"not a campaign: {error}") from None


def _place(pinned: PinnedObject) -> tuple[str, str, str | None, str]:
    return pinned.bucket, pinned.key, pinned.version_id, pinned.etag


def _is_named(named: Part, read: PinnedObject, bucket: str) -> bool:
    return (
        named.key == read.key
        and (named.bucket or bucket) == read.bucket
        # A file that names no version takes the one of the moment when the run began.
        and (named.version_id is None or named.version_id == read.version_id)
        and (named.etag is None or named.etag.strip('"') == read.etag)
    )
