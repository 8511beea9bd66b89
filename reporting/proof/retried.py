"""A batch file of the devices of a run that failed, and of nobody else: same experiment, same texts, same arms.

`failed` means that no gateway gave a final answer in time. What was rejected is refused for good, and is never in it.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import msgspec

from notifier.audience import FileKind
from notifier.audience.local import parser_for, read_local, read_local_head
from notifier.model.account import SUPPRESSED
from notifier.model.campaign import CONTROL, Campaign, Variant
from notifier.model.outcome import Outcome, Row
from notifier.model.record_reading import read_recipient
from notifier.sending.batch import BATCH_SIZE, Push
from reporting.proof.batch_audit import BatchAuditor
from reporting.proof.conclusion import NotProved
from reporting.proof.cut import with_cut
from reporting.proof.evidence import COMPLETED, read_admitted, read_erasures, read_summary
from reporting.proof.walk import Walk

ONLY_WHEN_NAMED = frozenset({"too_late", SUPPRESSED})
"""Reasons that are retried only when they are named: the time was over; the user wants no pushes."""
MAX_ID_CHARS = 128
_MARK_BYTES = 6
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Retry(msgspec.Struct, frozen=True):
    """What the file has, and what it leaves out: devices by reason of their failure.

    `status` and `unsent` are the run's: what was deferred when it ended early has not failed, and is not in the file.
    `is_counted_by_caps`: a cap held for the run, for which the run counts itself: it may leave users of this file out.
    """

    campaign_id: str
    users: int
    devices: int
    taken: dict[str, int]
    left_out: dict[str, int]
    status: str = COMPLETED
    unsent: int = 0
    is_counted_by_caps: bool = False


class NoRetry(Exception):
    """There can be no retry. The message says why."""


def are_one_kind(reasons: Collection[str]) -> bool:
    """Whether these reasons may be in one file: those that are retried only when they are named have one of their own.

    Two files of one kind may have devices in common, and have one campaign id: the worker refuses the second.
    """
    return len({reason in ONLY_WHEN_NAMED for reason in reasons}) < 2


def retry_campaign(campaign: Campaign, now: datetime, run_id: str, reasons: Collection[str] = ()) -> Campaign:
    """The campaign again, under an id of its own.

    The experiment stays, so that every user is in the same arm. The collapse ids stay too: a phone that showed the
    first push after all replaces it, and does not show two. A winner is decided by the first run alone.

    Args:
        run_id: of the run that is retried.
        reasons: as of `write_retry`, of one kind.

    Raises:
        NoRetry: the campaign's latest time has passed.
    """
    if campaign.abort_after is not None and campaign.abort_after <= now:
        raise NoRetry(
            f"the campaign's abort_after ({campaign.abort_after.isoformat()}) has passed: nothing would be sent"
        )
    # One id is one run: the retry needs an id of its own, and is found beside the first. Retries of a kind have
    # one id, so that a second file is refused where the first was sent: the two may have devices in common.
    kind = ["named"] if ONLY_WHEN_NAMED.intersection(reasons) else []
    mark = blake2b("\n".join((run_id, *kind)).encode(), digest_size=_MARK_BYTES).hexdigest()
    tail = f"-retry-{mark}"
    id_ = f"{campaign.id[: MAX_ID_CHARS - len(tail)]}{tail}"
    variants = tuple(
        msgspec.structs.replace(variant, message=_collapsing(campaign, variant)) for variant in campaign.variants
    )
    message = campaign.message
    if not variants and not message.collapse_id:
        # What the first run used by default: made from its own id, which the retry no longer has.
        message = msgspec.structs.replace(message, collapse_id=f"{campaign.id}:{campaign.arms[0][0]}")
    not_before = campaign.not_before if campaign.not_before and campaign.not_before > now else None
    return msgspec.structs.replace(
        campaign,
        id=id_,
        message=message,
        variants=variants,
        experiment=campaign.salt,
        not_before=not_before,
        again=False,
        winner=None,
    )


def _collapsing(campaign: Campaign, variant: Variant) -> Any:
    if variant.message.collapse_id or campaign.message.collapse_id:
        return variant.message
    return msgspec.structs.replace(variant.message, collapse_id=f"{campaign.id}:{variant.name}")


def write_retry(
    client: Any, bucket: str, run_id: str, out: Path, reasons: Collection[str] = (), *, now: datetime
) -> Retry:
    """Write the batch file, then read it again and prove that it has these devices and no other.

    The run is audited on the way: rows that are not proved are no basis for another push.

    Args:
        reasons: of the failures to retry. None: all but those that are retried only when they are named.

    Raises:
        NotProved, CannotProve: the run is not as it was sent, or its files have expired.
    """
    summary = read_summary(client, bucket, run_id)
    admitted, _ = with_cut(client, bucket, summary, read_admitted(client, bucket, summary))
    walk = Walk(client, bucket, run_id, admitted, read_erasures(client, bucket, run_id))
    auditor = BatchAuditor(
        run_id, admitted.campaign, walk.excluded(), strict=summary.status == COMPLETED, holdout=admitted.holdout
    )
    campaign = retry_campaign(admitted.campaign, now, run_id, reasons)
    file = _File(reasons)
    # Under another name until it is proved, also when Ctrl-C ends it: it would look like a file to send.
    unfinished = out.with_name(out.name + ".unfinished")
    try:
        with tempfile.TemporaryDirectory(prefix="notifier-retry-") as folder, _private(unfinished) as writing:
            writing.write(b'{"campaign": ' + _encode(campaign) + b', "users": [')
            for _, records, objects in walk.batches(Path(folder)):
                devices = auditor.check(_, records, objects)
                for line in file.users_of(records, devices):
                    writing.write((b",\n" if file.users > 1 else b"\n") + line)
            writing.write(b"\n]}\n")
        # From the file as it is on the disk, by the reader that the worker has: not from what this code meant to write.
        _prove(unfinished, campaign, file.chosen, file.devices)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return Retry(
        campaign.id,
        file.users,
        file.devices,
        file.taken,
        file.left_out,
        status=summary.status,
        unsent=summary.unsent,
        is_counted_by_caps=any(cap.group in admitted.caps.groups for cap in admitted.caps.caps),
    )


def _private(path: Path) -> IO[bytes]:
    """A file with tokens is readable for its owner only."""
    # Before a byte is written; chmod for a file that was there with wider rights.
    path.touch(mode=0o600)
    path.chmod(0o600)
    return path.open("wb")


class _File:
    """Chooses devices, and remembers which by a hash of user and token."""

    def __init__(self, reasons: Collection[str]) -> None:
        self._reasons = frozenset(reasons)
        self.users = 0
        self.devices = 0
        self.taken: dict[str, int] = {}
        self.left_out: dict[str, int] = {}
        self.chosen: set[bytes] = set()

    def users_of(self, records: list[object], devices: Mapping[tuple[int, int], tuple[Push, Row]]) -> Iterator[bytes]:
        """The users of a batch with a device to retry, as records of a batch file."""
        by_record: dict[int, list[Push]] = {}
        for push, row in devices.values():
            if self._takes(row):
                by_record.setdefault(push.record, []).append(push)
        for record, pushes in sorted(by_record.items()):
            self.users += 1
            self.devices += len(pushes)
            self.chosen.update(_mark(push.user_id, push.device.token) for push in pushes)
            recipient = read_recipient(records[record % BATCH_SIZE])
            optional = {"locale": recipient.locale, "timezone": recipient.timezone, "attributes": recipient.attributes}
            yield _encode(
                {"user_id": recipient.user_id, "devices": [push.device for push in pushes]}
                | {name: value for name, value in optional.items() if value}
            )

    def _takes(self, row: Row) -> bool:
        if row.outcome is not Outcome.FAILED or row.arm == CONTROL:
            return False
        reason = row.reason or "unknown"
        takes = reason in self._reasons if self._reasons else reason not in ONLY_WHEN_NAMED
        counts = self.taken if takes else self.left_out
        counts[reason] = counts.get(reason, 0) + 1
        return takes


def _mark(user_id: str, token: str) -> bytes:
    return blake2b(f"{len(user_id)}:{user_id}{token}".encode(), digest_size=16).digest()


def _prove(path: Path, campaign: Campaign, chosen: set[bytes], devices: int) -> None:
    """Read the file as the worker will, and compare. Raises NotProved."""
    found, count = set[bytes](), 0
    for records in read_local(path, parser_for(path, FileKind.BATCH_FILE)):
        for record in records:
            recipient = read_recipient(record)
            for _, device in recipient.devices:
                found.add(_mark(recipient.user_id, device.token))
                count += 1
    if found != chosen or count != devices:
        raise NotProved(str(path), "it has other devices than those that failed")
    # A file without users cannot be read to its campaign only where it is broken.
    head = read_local_head(path)
    if not isinstance(head.campaign, dict) or head.campaign.get("experiment") != campaign.salt:
        raise NotProved(str(path), "it has another experiment than the run")
