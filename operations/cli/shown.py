"""How inspections, figures and conversions look to people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from notifier.content.languages import is_known, language_of
from notifier.counting.audience_checks import broken_lines, warnings_in
from notifier.counting.counter import AudienceFigures
from notifier.model.user_rows import joined_rows_note
from operations.convert.audience import Counts as TableCounts
from operations.convert.files import WINDOWS
from operations.convert.pinpoint import Counts
from operations.dry_check import Inspection, Preview

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


def show_inspection(out: Console, found: Inspection, *, payloads: bool = False) -> None:
    """Faults first, because they decide."""
    title = Text(found.campaign_id or found.name, style="bold")
    out.print(title)
    if found.faults:
        out.print(Text(f"✗ the worker would refuse this file: {len(found.faults)} fault(s)", style="bold red"))
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
        told = f"{name}: largest payload {sizes.largest:,} of {sizes.limit:,} bytes"
        out.print(Text(told, style="red" if sizes.too_large else ""))
    show_figures(out, found.figures)
    if any(found.languages):
        out.print(Text(f"texts read: {readers(found.languages, found.own_texts)}"))
    if found.excluded:
        out.print(Text(f"{found.excluded:,} of the users are on the exclude list and get nothing"))
    _show_repeats(out, found)
    _show_broken(out, found)
    for preview in found.previews:
        out.print(_preview(preview, payloads=payloads))


def readers(languages: Mapping[str, int], own_texts: Mapping[str, int]) -> str:
    """How many users read which text: `German 1,203, the message's own 410 (12 of them 'xx')`.

    Args:
        languages: users by translation, "" for the message's own texts.
        own_texts: the locales of those who read the message's own; "" for none.
    """
    ordered = sorted(languages.items(), key=lambda item: -item[1])
    told = [f"{_language(tag)} {n:,}" for tag, n in ordered if tag]
    if own := languages.get("", 0):
        locales = sorted(own_texts.items(), key=lambda item: -item[1])
        listed = [f"{n:,} {'without a locale' if not locale else _shown_locale(locale)}" for locale, n in locales[:5]]
        more = [f"{len(locales) - 5} more locales"] if len(locales) > 5 else []
        told.append(f"the message's own {own:,} (of them {', '.join(listed + more)})")
    return ", ".join(told)


def _shown_locale(locale: str) -> str:
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


def _show_repeats(out: Console, found: Inspection) -> None:
    if not found.repeats:
        return
    table = Table(box=box.SIMPLE_HEAD, title="repeated tokens", title_justify="left")
    table.add_column("record", justify="right")
    table.add_column("has a token of record", justify="right")
    for one in found.repeats:
        table.add_row(f"{one.record:,}", f"{one.first_record:,}")
    out.print(table)
    rest = (found.figures.repeated_tokens or 0) - len(found.repeats)
    if rest:
        out.print(Text(f"… and {rest:,} more (--limit 0 lists all)", style="dim"))


def _show_broken(out: Console, found: Inspection) -> None:
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


def _preview(preview: Preview, *, payloads: bool) -> RenderableType:
    ios, android = Text(), Text()
    for text, name, size in ((ios, "iOS", preview.ios_bytes), (android, "Android", preview.android_bytes)):
        text.append(preview.title or ("(no title)" if preview.body else "(silent)"), style="bold")
        text.append(f"\n{preview.body}\n" if preview.body else "\n")
        text.append(f"{name}, {size:,} bytes", style="dim")
    table = Table.grid(expand=True, padding=(0, 2, 0, 0))
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    table.add_row(ios, android)
    if payloads:
        table.add_row(_payload(preview.ios), _payload(preview.android["message"]))
    locale = f", {preview.locale}" if preview.locale else ""
    title = Text(f"{preview.user_id} → {preview.arm}{locale}")
    return Panel(table, title=title, title_align="left", border_style="dim")


def _payload(payload: dict[str, Any]) -> Text:
    return Text(json.dumps(payload, ensure_ascii=False, indent=1))


def show_figures(out: Console, figures: AudienceFigures) -> None:
    """What an audience holds."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    platforms = ", ".join(f"{name} {n:,}" for name, n in figures.platforms.items()) or "none"
    table.add_row("users", f"{figures.users:,}")
    table.add_row("devices", f"{figures.devices:,} ({platforms})")
    table.add_row("repeated tokens", f"{figures.repeated_tokens or 0:,}")
    table.add_row("broken", f"{figures.invalid_records:,} records or devices")
    table.add_row("locales", Text(_most(figures.locales)))
    table.add_row("time zones", Text(f"{_most(figures.timezones)}; without one: {figures.without_timezone:,}"))
    table.add_row("attributes", Text(_most(figures.attributes)))
    out.print(table)
    if figures.broken:
        out.print(Text("broken, by reason; records are counted from 0:", style="dim"))
    for line in broken_lines(figures.broken):
        out.print(Text(f"  {line}"))


def warnings_of(figures: AudienceFigures) -> Iterator[str]:
    """What looks wrong in an audience that no campaign's texts are known for."""
    if not figures.devices:
        yield "there is no valid device: a run with this audience is refused"
    if joined := joined_rows_note(figures.records, figures.users):
        yield joined
    yield from warnings_in(figures.null_words, figures.other_gateway, None)


def show_warnings(out: Console, figures: AudienceFigures) -> None:
    """The same, a line each."""
    for warning in warnings_of(figures):
        out.print(Text(f"! {warning}", style="yellow"))


def _most(counts: dict[str, int]) -> str:
    listed = sorted(counts.items(), key=lambda item: -item[1])
    rest = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
    return ", ".join(f"{name} {n:,}" for name, n in listed[:8]) + rest if listed else "none"


def show_conversion(out: Console, path: Path, counts: Counts) -> None:
    """What became of another tool's file."""
    out.print(
        f"{path}: {counts.devices:,} of {counts.endpoints:,} endpoints, in {counts.users:,} records", markup=False
    )
    if counts.without_user_id:
        out.print(f"{counts.without_user_id:,} have no User.UserId and go by their endpoint's Id")
    for reason, n in sorted(counts.left_out.items(), key=lambda item: -item[1]):
        channels = ""
        if reason == "other_channel":
            channels = " (" + ", ".join(f"{name} {m:,}" for name, m in sorted(counts.channels_left_out.items())) + ")"
        out.print(f"  left out: {n:>9,}  {REASONS[reason]}{channels}", markup=False)


def show_table_conversion(out: Console, path: Path, counts: TableCounts, read: Sequence[Mapping[str, str]]) -> None:
    """What became of tables, and how each was read."""
    for one in read:
        how = f"{one['file']}: read as {one['encoding']}, separated by {one['separator']}"
        out.print(how, markup=False)
        if one["encoding"] == WINDOWS:
            # It fits almost any bytes, so that only a reader of the names can tell.
            out.print(
                Text("! not UTF-8: look whether names with accents are right, else say --encoding", style="yellow")
            )
    devices, rows, users = f"{counts.devices:,}", f"{counts.rows:,}", f"{counts.users:,}"
    out.print(f"{path}: {devices} devices of {rows} rows, in {users} records", markup=False)
    for group in sorted(counts.left_out, key=lambda one: -one.count):
        places = ", ".join(f"{place.record:,}" for place in group.places)
        out.print(f"  left out: {group.count:>9,}  {group.reason} (row {places})", markup=False)
