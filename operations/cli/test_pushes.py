"""`test`: one push per arm and translation to one's own devices."""

import re
import secrets
import time
from typing import Annotated, Any

import msgspec
import typer
from rich import box
from rich.table import Table
from rich.text import Text

from notifier.audience import BrokenFile
from notifier.gateway.additions import read_sendable
from notifier.model.batch_file import BatchFileHead
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import BrokenCampaign
from notifier.model.outcome import Outcome, Row
from notifier.model.recipient import Device, masked
from notifier.model.record_reading import read_recipient
from notifier.model.run import source_of
from notifier.model.spelling import BrokenRecord
from notifier.sending.carrier import DRY_RUN
from operations.cli.cloud import Cloud
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, Stack, StackFile, console, print_json
from operations.cli.sources import FileArgument, InputFiles, LazyCloud
from operations.test_files import TestFile, test_files
from reporting.rows import objects_under

APNS_TOKEN = re.compile(r"[0-9a-fA-F]{64,}")
"""64 digits today; Apple asks not to count on it."""
POLL_S = 0.3
SAMPLED_RECORDS = 1_000
"""Records that are read for a valid one, whose attributes fill the placeholders."""
WAITING_FOR_AN_OPERATOR = ("stopped", "paused")


class Tested(msgspec.Struct, frozen=True):
    """The result of one test push. `token` is masked."""

    arm: str
    locale: str | None
    platform: str
    token: str
    outcome: str
    reason: str | None
    status: int | None
    run_id: str

    @property
    def is_fine(self) -> bool:
        """The gateway accepted it."""
        return self.outcome == Outcome.ACCEPTED


@reports_errors
def send_test_pushes(
    file: FileArgument,
    token: Annotated[
        list[str],
        typer.Option(
            help="A device's token; repeat the option for more. "
            "ios:TOKEN, android:TOKEN or web:TOKEN sets its platform."
        ),
    ],
    environment: Annotated[
        str, typer.Option(help="APNs environment: production, or sandbox for builds from Xcode.")
    ] = "production",
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE for a placeholder; repeat the option for more. Default: the first valid user's attributes."
        ),
    ] = None,
    timeout_s: Annotated[float, typer.Option(help="How long to wait for the answers.")] = 90.0,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Send every arm in every language to your own devices, and show what Apple and Google answered.

    These pushes are kept out of the campaign's figures. Exit 0 only if all were accepted.

    Example: notifier test day-2.json --token ios:0a1b2c… --attribute first_name=Ann
    """
    cloud = LazyCloud(stack, stack_file)
    inputs = InputFiles([file], cloud, users_only=False)
    devices = [device_of(text, environment) for text in token]
    given = _attributes(attribute or [])
    campaign, sample = _read(inputs, given)
    # The time to find it by, and chance: two people may test in the same second, and an id is one run only.
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    # All files are uploaded before the first answer is waited for, so that their runs overlap.
    sent = [(one, _upload(cloud.get(), one)) for one in test_files(campaign, devices, sample, name)]
    tested = [result for one, run_id in sent for result in _results(cloud.get(), one, run_id, devices, timeout_s)]
    if as_json:
        print_json(tested)
    else:
        _print(tested)
    if not all(one.is_fine for one in tested):
        raise typer.Exit(ExitCode.NOT_FINE)


def device_of(text: str, environment: str) -> Device:
    """The device in `TOKEN` or `PLATFORM:TOKEN`. Raises CommandError."""
    platform, colon, token = text.partition(":")
    # FCM tokens have colons too: only a known platform before the first one is a prefix.
    if not colon or platform not in ("ios", "android", "web"):
        platform, token = ("ios" if APNS_TOKEN.fullmatch(text) else "android"), text
    record = {"user_id": "test", "platform": platform, "token": token}
    if platform == "ios":
        record["environment"] = environment
    try:
        return read_recipient(record).devices[0][1]
    except BrokenRecord as error:
        raise CommandError(
            ExitCode.USAGE, f"--token {masked(token)}: {error}", "give the token as the app got it"
        ) from None


def _attributes(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise CommandError(ExitCode.USAGE, f"--attribute {name}: not NAME=VALUE", "for example first_name=Ann")
    return {name: value for name, _, value in pairs}


def _read(inputs: InputFiles, given: dict[str, str]) -> tuple[Campaign, dict[str, Any]]:
    """The campaign, and the parts of a user's record that fill its placeholders: the given attributes, or a user's."""
    try:
        head = inputs.head()
        campaign = read_sendable(head.campaign)
        return campaign, {"attributes": given} if given else _sample(inputs, head)
    except BrokenFile as error:
        raise CommandError(ExitCode.NOT_FINE, str(error), f"notifier validate {inputs.name}") from None
    except BrokenCampaign as error:
        mend = f"notifier validate {inputs.name} shows more"
        raise CommandError(ExitCode.NOT_FINE, f"{inputs.name}: {error}", mend) from None


def _sample(inputs: InputFiles, head: BatchFileHead) -> dict[str, Any]:
    """Attributes and time zone of the first valid user; nothing where the first records have none."""
    read = 0
    for records in inputs.pieces(head):
        for value in records:
            if (sample := _sample_of(value)) is not None:
                return sample
        read += len(records)
        if read >= SAMPLED_RECORDS:
            break
    return {}


def _sample_of(value: object) -> dict[str, Any] | None:
    try:
        recipient = read_recipient(value)
    except BrokenRecord:
        return None
    return {"attributes": dict(recipient.attributes), "timezone": recipient.timezone}


def _upload(cloud: Cloud, one: TestFile) -> str:
    """Puts a test's batch file, which starts its run. Returns the run's id."""
    bucket = cloud.deployment.bucket
    answer = cloud.client("s3").put_object(Bucket=bucket, Key=one.key, Body=one.body, ContentType="application/json")
    return source_of(bucket, one.key, answer.get("VersionId"), answer["ETag"]).run_id


def _results(cloud: Cloud, one: TestFile, run_id: str, devices: list[Device], timeout_s: float) -> list[Tested]:
    """What became of one file's pushes, a result for each device. Where the run failed each has its reason."""
    until = time.monotonic() + timeout_s
    lane = cloud.ledger.read_lane(run_id)
    while (lane is None or lane.ending is None) and time.monotonic() < until:
        # Stopped or paused: no further row comes without an operator, who is waiting here.
        if lane is not None and lane.status in WAITING_FOR_AN_OPERATOR:
            break
        time.sleep(POLL_S)
        lane = cloud.ledger.read_lane(run_id)
    rows = _rows(cloud, run_id)
    without_row = (lane.reason or lane.status) if lane else "the worker has not begun"
    return [_tested(one, run_id, device, rows.get(n), without_row) for n, device in enumerate(devices)]


def _tested(one: TestFile, run_id: str, device: Device, row: Row | None, without_row: str) -> Tested:
    platform, token = device.platform.value, masked(device.token)
    if row is None:
        return Tested(one.arm, one.locale, platform, token, "no answer", without_row, None, run_id)
    return Tested(one.arm, one.locale, platform, token, row.outcome.value, row.reason, row.status, run_id)


def _rows(cloud: Cloud, run_id: str) -> dict[int, Row]:
    """The rows by device. A test file has one user, so the device's number is the row's."""
    import gzip  # noqa: PLC0415 - only here

    decoder = msgspec.json.Decoder(Row)
    found = objects_under(cloud.client("s3"), cloud.deployment.bucket, f"rows/run_id={run_id}/")
    return {row.device: row for _, body in found for row in decoder.decode_lines(gzip.decompress(body))}


def _print(tested: list[Tested]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("arm", "language", "device", "Apple / Google said", "reason"):
        table.add_column(name)
    for one in tested:
        outcome = Text(one.outcome, style="green" if one.is_fine else "red")
        device = f"{one.platform} {one.token}"
        table.add_row(Text(one.arm), one.locale or "(own texts)", device, outcome, one.reason or "")
    out = console()
    out.print(table)
    if any(one.reason == DRY_RUN for one in tested):
        out.print(
            "[yellow]The stack rehearses: nothing reached a phone. Deploy it with Mode=live to see the pushes.[/]"
        )
