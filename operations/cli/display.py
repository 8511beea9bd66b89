"""Prints findings, figures and conversions for the terminal."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from notifier.content.languages import is_known, language_of
from notifier.model.audience_counts import Counts
from notifier.model.plurals import counted
from operations.broken_groups import broken_lines
from operations.cli.left_out import in_words
from operations.convert.audience import RowCounts
from operations.convert.files import WINDOWS
from operations.convert.pinpoint import EndpointCounts
from operations.dry_check import Inspection, Preview
from operations.dry_check.figures import AudienceFigures

MAX_LOCALES = 5
"""Locales that are listed of the users who read the message's own texts."""
MAX_NAMES = 8
"""Locales, time zones and attributes that are listed."""
REASONS = {
    "opted_out": "opted out (OptOut=ALL)",
    "inactive": "inactive (EndpointStatus=INACTIVE)",
    "other_channel": "another channel",
    "unknown_channel": "a channel Pinpoint never had",
    "no_channel": "no ChannelType: Pinpoint knew it, the file does not say",
    "no_address": "no address",
    "no_id": "neither User.UserId nor Id",
    "not_readable": "not readable",
}


def print_inspection(out: Console, found: Inspection, *, payloads: bool = False) -> None:
    """Print the findings of a dry check. Faults come first: they decide whether the file can be sent."""
    title = Text(found.campaign_id or found.name, style="bold")
    out.print(title)
    if found.faults:
        out.print(Text(f"✗ the worker would refuse this file: {counted(len(found.faults), 'fault')}", style="bold red"))
        for fault in found.faults:
            out.print(Text.assemble("  ", (fault.field, "bold"), f": {fault.problem}"))
            if fault.mend:
                out.print(Text(f"      → {fault.mend}", style="dim"))
    else:
        out.print(Text("✓ the worker would take this file", style="bold green"))
    for warning in found.warnings:
        out.print(Text(f"! {warning}", style="yellow"))
    if found.arms:
        out.print(_arms(found))
    for gateway, sizes in found.payloads.items():
        name = {"apns": "APNs", "fcm": "FCM"}[gateway]
        size = f"{name}: largest payload {sizes.largest:,} of {sizes.limit:,} bytes"
        out.print(Text(size, style="red" if sizes.too_large else ""))
    _print_audience(out, found)
    if any(found.languages):
        out.print(Text(f"texts read: {readers(found.languages, found.own_texts)}"))
    _print_left_out(out, found)
    _print_repeats(out, found)
    _print_broken(out, found)
    for preview in found.previews:
        out.print(preview_panel(preview, payloads=payloads))


def _print_left_out(out: Console, found: Inspection) -> None:
    """Who gets nothing: the exclude list, and where a stack is named whoever else would be left out as of now."""
    if found.excluded:
        one = found.excluded == 1
        excluded = f"{found.excluded:,} of the users {'is' if one else 'are'} on the exclude list"
        out.print(Text(f"{excluded} and {'gets' if one else 'get'} nothing"))
    if found.left_out is not None:
        out.print(Text(in_words(found.figures.users, found.left_out)))


def _print_audience(out: Console, found: Inspection) -> None:
    if found.prepared is None:
        print_figures(out, found.figures)
        return
    out.print(Text("made of what its audience names, before it is sent:", style="dim"))
    print_counts(out, found.prepared)


def readers(languages: Mapping[str, int], own_texts: Mapping[str, int]) -> str:
    """How many users read which text: `German 1,203, the message's own 410 (12 of them 'xx')`.

    Args:
        languages: users by translation, "" for the message's own texts.
        own_texts: the locales of those who read the message's own; "" for none.
    """
    ordered = sorted(languages.items(), key=lambda item: -item[1])
    listed = [f"{_language(tag)} {n:,}" for tag, n in ordered if tag]
    if own := languages.get("", 0):
        locales = sorted(own_texts.items(), key=lambda item: -item[1])
        first = [f"{n:,} {_locale(locale)}" for locale, n in locales[:MAX_LOCALES]]
        rest = len(locales) - MAX_LOCALES
        more = [f"{counted(rest, 'more locale')}"] if rest > 0 else []
        listed.append(f"the message's own {own:,} (of them {', '.join(first + more)})")
    return ", ".join(listed)


def _locale(locale: str) -> str:
    if not locale:
        return "without a locale"
    return repr(locale) if is_known(locale) else f"{locale!r}, which is no language"


def _language(tag: str) -> str:
    """A language by its English name, with its tag where that says more: `Portuguese (pt-br)`."""
    from babel import Locale  # noqa: PLC0415 - only here

    names = Locale("en").languages
    language = language_of(tag)
    name = names.get(language.language) if language else None
    return (name if tag in names else f"{name} ({tag})") if name else repr(tag)


def _arms(found: Inspection) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("arm")
    table.add_column("share", justify="right")
    table.add_column("users", justify="right")
    for name, arm in found.arms.items():
        table.add_row(Text(name), f"{arm.percent:g} %", f"{arm.users:,}")
    return table


def _print_repeats(out: Console, found: Inspection) -> None:
    if not found.repeats:
        return
    table = Table(box=box.SIMPLE_HEAD, title="repeated tokens", title_justify="left")
    table.add_column("record", justify="right")
    table.add_column("has a token of record", justify="right")
    for one in found.repeats:
        table.add_row(f"{one.record:,}", f"{one.first_record:,}")
    out.print(table)
    # The inspection lists the first of them only; all are counted.
    rest = (found.figures.repeated_tokens or 0) - len(found.repeats)
    if rest:
        out.print(Text(f"… and {rest:,} more (--limit 0 lists all)", style="dim"))


def _print_broken(out: Console, found: Inspection) -> None:
    if not found.broken:
        return
    table = Table(box=box.SIMPLE_HEAD, title="broken", title_justify="left")
    table.add_column("record", justify="right")
    table.add_column("device", justify="right")
    table.add_column("user")
    table.add_column("reason")
    for one in found.broken:
        device = "" if one.device is None else str(one.device)
        table.add_row(f"{one.record:,}", device, Text(one.user_id or ""), Text(one.reason))
    out.print(table)
    rest = sum(found.broken_by_reason.values()) - len(found.broken)
    if rest:
        out.print(Text(f"… and {rest:,} more (--limit 0 lists all)", style="dim"))


def preview_panel(preview: Preview, *, payloads: bool = False) -> RenderableType:
    """What a user would see, on both kinds of phones."""
    ios, android = Text(), Text()
    for text, name, size in ((ios, "iOS", preview.ios_bytes), (android, "Android", preview.android_bytes)):
        text.append(preview.title or ("(no title)" if preview.body else "(silent)"), style="bold")
        text.append(f"\n{preview.body}\n" if preview.body else "\n")
        text.append(f"{name}, {size:,} bytes", style="dim")
    table = Table.grid(expand=True, padding=(0, 2, 0, 0))
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    table.add_row(ios, android)
    # APNs gets the payload as it is; FCM's request has it in `message`.
    if payloads:
        table.add_row(_payload(preview.ios), _payload(preview.android["message"]))
    locale = f", {preview.locale}" if preview.locale else ""
    title = Text(f"{preview.user_id} → {preview.arm}{locale}")
    return Panel(table, title=title, title_align="left", border_style="dim")


def _payload(payload: dict[str, Any]) -> Text:
    return Text(json.dumps(payload, ensure_ascii=False, indent=1))


def print_figures(out: Console, figures: AudienceFigures) -> None:
    """Print what an audience holds."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    platforms = ", ".join(f"{name} {n:,}" for name, n in figures.platforms.items()) or "none"
    table.add_row("users", f"{figures.users:,}")
    table.add_row("devices", f"{figures.devices:,} ({platforms})")
    table.add_row("repeated tokens", f"{figures.repeated_tokens or 0:,}")
    table.add_row("broken", counted(figures.invalid_records, "record or device", "records or devices"))
    table.add_row("locales", Text(_largest(figures.locales)))
    table.add_row("time zones", Text(f"{_largest(figures.timezones)}; without one: {figures.without_timezone:,}"))
    table.add_row("attributes", Text(_largest(figures.attributes)))
    out.print(table)
    if figures.broken:
        out.print(Text("broken, by reason; records are counted from 0:", style="dim"))
    for line in broken_lines(figures.broken):
        out.print(Text(f"  {line}"))


def print_counts(out: Console, counts: Counts) -> None:
    """Print what a prepared audience holds."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    platforms = ", ".join(
        f"{platform} {count:,} by {gateway}"
        for platform, gateways in counts.devices.items()
        for gateway, count in gateways.items()
    )
    table.add_row("rows", f"{counts.rows:,}")
    table.add_row("users", f"{counts.users:,} ({counted(counts.joined_rows, 'row')} joined to their users)")
    table.add_row("devices", f"{counts.device_count:,} ({platforms})")
    table.add_row("repeated tokens", f"{counts.repeated_tokens:,}")
    table.add_row("locales", Text(_largest(counts.locales)))
    table.add_row("time zones", Text(_largest(counts.timezones)))
    for name, found in counts.attributes.items():
        examples = f"; such as {', '.join(found.examples)}" if found.examples else ""
        table.add_row(Text(name), Text(f"missing for {counted(found.lacking, 'user')}{examples}"))
    out.print(table)
    for reason, count in counts.invalid.items():
        places = ", ".join(f"{one.row:,} of {one.input}" for one in counts.invalid_first if one.reason == reason)
        out.print(Text(f"  {count:,} × {reason} (first: row {places})"))


def _largest(counts: Mapping[str, int]) -> str:
    listed = sorted(counts.items(), key=lambda item: -item[1])
    rest = len(listed) - MAX_NAMES
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(f"{name} {n:,}" for name, n in listed[:MAX_NAMES]) + more if listed else "none"


def print_conversion(out: Console, path: Path, counts: EndpointCounts) -> None:
    """Print what became of Pinpoint's endpoints."""
    endpoints, records = counted(counts.endpoints, "endpoint"), counted(counts.users, "record")
    out.print(f"{path}: {counts.devices:,} of {endpoints}, in {records}", markup=False)
    if counts.without_user_id:
        have = "has" if counts.without_user_id == 1 else "have"
        out.print(f"{counts.without_user_id:,} {have} no User.UserId: the endpoint's Id is the user_id")
    for reason, n in sorted(counts.left_out.items(), key=lambda item: -item[1]):
        channels = ""
        if reason == "other_channel":
            channels = " (" + ", ".join(f"{name} {m:,}" for name, m in sorted(counts.channels_left_out.items())) + ")"
        out.print(f"  left out: {n:>9,}  {REASONS[reason]}{channels}", markup=False)


def print_table_conversion(out: Console, path: Path, counts: RowCounts, read: Sequence[Mapping[str, str]]) -> None:
    """Print what became of the rows of tables, and how each table was read."""
    for one in read:
        how = f"{one['file']}: read as {one['encoding']}, separated by {one['separator']}"
        out.print(how, markup=False)
        if one["encoding"] == WINDOWS:
            # Almost any bytes are valid in this encoding: only a reader of the names sees whether it is the right one.
            out.print(
                Text(
                    "! not UTF-8: check that names with accents are right, else name it with --encoding", style="yellow"
                )
            )
    devices, rows, records = (
        counted(n, name) for n, name in ((counts.devices, "device"), (counts.rows, "row"), (counts.users, "record"))
    )
    out.print(f"{path}: {devices} of {rows}, in {records}", markup=False)
    for group in sorted(counts.left_out, key=lambda one: -one.count):
        first_rows = ", ".join(f"{place.record:,}" for place in group.places)
        out.print(f"  left out: {group.count:>9,}  {group.reason} (row {first_rows})", markup=False)
