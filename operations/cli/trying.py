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
from notifier.model.campaign import BrokenCampaign, Campaign
from notifier.model.outcome import Outcome, Row
from notifier.model.recipient import BrokenRecord, Device, masked, read_recipient
from notifier.model.run import source_of
from operations.cli.files import CloudOf, Input, Source
from operations.cli.options import AsJson, Stack, StackFile, console, print_json
from operations.cli.place import Cloud
from operations.cli.trouble import ExitCode, Trouble, tells_trouble
from operations.test_files import TestFile, test_files
from reporting.rows import objects_under

APNS_TOKEN = re.compile(r"[0-9a-fA-F]{64,}")
EVERY_S = 0.3
LOOK_AT = 1_000
"""Records looked at for one whose attributes fill the placeholders."""


class Tested(msgspec.Struct, frozen=True):
    """What became of one test push. `token` is masked."""

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
        """The gateway took it."""
        return self.outcome == Outcome.ACCEPTED


@tells_trouble
def try_out(
    file: Source,
    token: Annotated[
        list[str],
        typer.Option(help="A device's token, again for more; ios:TOKEN or android:TOKEN where it cannot be told."),
    ],
    environment: Annotated[
        str, typer.Option(help="APNs environment: production, or sandbox for builds from Xcode.")
    ] = "production",
    attribute: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for placeholders, again for more. Default: of the first user.")
    ] = None,
    timeout_s: Annotated[float, typer.Option(help="Wait so long for the answers.")] = 90.0,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Send every arm in every language to your own devices, and show what Apple and Google said.

    These pushes are kept out of the campaign's figures. Exit 0 only if all were accepted.

    Example: notifier test day-2.json --token ios:0a1b2c… --attribute first_name=Ann
    """
    cloud_of = CloudOf(stack, stack_file)
    source = Input([file], cloud_of, users_only=False)
    devices = [device_of(text, environment) for text in token]
    campaign, sample = _read(source, _attributes(attribute or []))
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    sent = [(one, _put(cloud_of(), one)) for one in test_files(campaign, devices, sample, name)]
    tested = [done for one, run_id in sent for done in _await(cloud_of(), one, run_id, devices, timeout_s)]
    if as_json:
        print_json(tested)
    else:
        _show(tested)
    if not all(one.is_fine for one in tested):
        raise typer.Exit(ExitCode.NOT_FINE)


def device_of(text: str, environment: str) -> Device:
    """The device in `TOKEN` or `PLATFORM:TOKEN`. Raises Trouble."""
    platform, colon, token = text.partition(":")
    if not colon or platform not in ("ios", "android", "web"):
        platform, token = ("ios" if APNS_TOKEN.fullmatch(text) else "android"), text
    record = {"user_id": "test", "platform": platform, "token": token}
    if platform == "ios":
        record["environment"] = environment
    try:
        return read_recipient(record).devices[0][1]
    except BrokenRecord as error:
        raise Trouble(ExitCode.USAGE, f"--token {masked(token)}: {error}", "give the token as the app got it") from None


def _attributes(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise Trouble(ExitCode.USAGE, f"--attribute {name}: not NAME=VALUE", "for example first_name=Ann")
    return {name: value for name, _, value in pairs}


def _read(source: Input, attributes: dict[str, str]) -> tuple[Campaign, dict[str, Any]]:
    """The campaign, and a record whose attributes fill its placeholders."""
    try:
        head = source.head()
        campaign = read_sendable(head.campaign)
        sample: dict[str, Any] = {}
        if not attributes:
            looked = 0
            for piece in source.pieces(head):
                found = next(filter(None, map(_sample_of, piece)), None)
                looked += len(piece)
                if found or looked >= LOOK_AT:
                    sample = found or {}
                    break
    except BrokenFile as error:
        raise Trouble(ExitCode.NOT_FINE, str(error), f"notifier validate {source.name}") from None
    except BrokenCampaign as error:
        mend = f"notifier validate {source.name} tells more"
        raise Trouble(ExitCode.NOT_FINE, f"{source.name}: {error}", mend) from None
    return campaign, {"attributes": attributes} if attributes else sample


def _sample_of(value: object) -> dict[str, Any] | None:
    try:
        recipient = read_recipient(value)
    except BrokenRecord:
        return None
    return {"attributes": dict(recipient.attributes), "timezone": recipient.timezone}


def _put(cloud: Cloud, one: TestFile) -> str:
    bucket = cloud.place.bucket
    answer = cloud.client("s3").put_object(Bucket=bucket, Key=one.key, Body=one.body, ContentType="application/json")
    return source_of(bucket, one.key, answer.get("VersionId"), answer["ETag"]).run_id


def _await(cloud: Cloud, one: TestFile, run_id: str, devices: list[Device], timeout_s: float) -> list[Tested]:
    """What became of one file's pushes; a run that failed says so for each device."""
    until = time.monotonic() + timeout_s
    lane = cloud.ledger.read_lane(run_id)
    while (lane is None or lane.ending is None) and time.monotonic() < until:
        if lane is not None and lane.status in ("stopped", "paused"):
            break
        time.sleep(EVERY_S)
        lane = cloud.ledger.read_lane(run_id)
    rows = _rows(cloud, run_id)
    said = (lane.reason or lane.status) if lane else "the worker has not begun"
    return [_tested(one, run_id, n, device, rows, said) for n, device in enumerate(devices)]


def _tested(one: TestFile, run_id: str, n: int, device: Device, rows: dict[int, Row], said: str) -> Tested:
    row = rows.get(n)
    platform, token = device.platform.value, masked(device.token)
    if row is None:
        return Tested(one.arm, one.locale, platform, token, "no answer", said, None, run_id)
    return Tested(one.arm, one.locale, platform, token, row.outcome.value, row.reason, row.status, run_id)


def _rows(cloud: Cloud, run_id: str) -> dict[int, Row]:
    import gzip  # noqa: PLC0415 - only here

    decoder = msgspec.json.Decoder(Row)
    found = objects_under(cloud.client("s3"), cloud.place.bucket, f"rows/run_id={run_id}/")
    return {row.device: row for _, body in found for row in decoder.decode_lines(gzip.decompress(body))}


def _show(tested: list[Tested]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("arm", "language", "device", "Apple / Google said", "reason"):
        table.add_column(name)
    for one in tested:
        said = Text(one.outcome, style="green" if one.is_fine else "red")
        table.add_row(Text(one.arm), one.locale or "(own texts)", f"{one.platform} {one.token}", said, one.reason or "")
    out = console()
    out.print(table)
    if any(one.reason == "dry_run" for one in tested):
        out.print(
            "[yellow]The stack rehearses: nothing reached a phone. Deploy it with Mode=live to see the pushes.[/]"
        )
