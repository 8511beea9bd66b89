"""`convert`: makes audiences from other tools' files."""

import codecs
import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
import typer
from typer.core import TyperGroup

from operations.cli.display import REASONS, print_conversion, print_table_conversion
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, console, print_json
from operations.convert import audience, pinpoint
from operations.convert.files import NotText, encoding_of, output_to, text_of
from operations.convert.table import BadTable

TABLE = "table"
SEPARATOR_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|"}

Out = Annotated[Path, typer.Option("--out", "-o", help="The audience to write; gzipped if its name ends in .gz.")]


class TableUnlessNamed(TyperGroup):
    """`notifier convert audience.csv …` is `notifier convert table audience.csv …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command where the arguments name none."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [TABLE, *args]
        return super().parse_args(ctx, args)


convert = typer.Typer(
    cls=TableUnlessNamed,
    help="Make audiences from other tools' files. Without a subcommand: from tables (CSV).",
    epilog="Example: notifier convert audience.csv -o audience.jsonl",
    no_args_is_help=True,
)


@convert.command(TABLE)
@reports_errors
def convert_table(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Tables: CSV with commas, semicolons or tabs, plain or gzip."),
    ],
    out: Out,
    separator: Annotated[
        str | None, typer.Option(help="The character between two cells; tab for a tab. Default: detected.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The text's encoding, for example cp1250 or mac_roman. Default: detected.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an audience from a table with the columns user_id, platform and token: one row per device.

    Columns gateway, environment, locale and timezone are read too, names in any case;
    all others become attributes, as text. Consecutive rows of one user become one
    record. Rows that cannot be sent to are left out and counted.

    Encoding (UTF-8, UTF-16, Windows-1252) and separator are detected; Excel's line
    "sep=;" is read as well.

    Example: notifier convert audience.csv -o audience.jsonl
    """
    _must_differ(out, files)
    counts = audience.RowCounts()
    with output_to(out) as written:
        read = [_write_table(written, path, counts, _separator(separator), _encoding(encoding)) for path in files]
        # Inside the `with`: an error here leaves no file behind.
        if not counts.devices:
            why = "; ".join(f"{group.count:,} × {group.reason}" for group in counts.left_out) or "it has no rows"
            mend = "platform is ios, android or web, and token is what the app received"
            raise CommandError(ExitCode.NOT_FINE, f"{_listed(files)}: nobody to send to: {why}", mend)
    if as_json:
        print_json({"out": str(out), "read": read, **msgspec.to_builtins(counts)})
    else:
        print_table_conversion(console(), out, counts, read)


def _write_table(
    written: IO[bytes], path: Path, counts: audience.RowCounts, separator: str | None, encoding: str | None
) -> dict[str, str]:
    """Write a table's records. Returns how the table was read."""
    try:
        encoding = encoding or encoding_of(path)
        with text_of(path, encoding) as text:
            table, found = audience.records(text, counts, separator)
            _write_lines(written, found)
    except (BadTable, NotText) as error:
        raise CommandError(ExitCode.NOT_FINE, f"{path}: {error}", error.mend) from None
    except UnicodeError:
        mend = "name the encoding with --encoding"
        raise CommandError(ExitCode.NOT_FINE, f"{path}: not {encoding} throughout", mend) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _bad_gzip(path, error) from None
    return {"file": str(path), "encoding": encoding, "separator": table.separator_name}


def _write_lines(written: IO[bytes], records: Iterable[dict[str, Any]]) -> None:
    encode = msgspec.json.Encoder().encode
    for record in records:
        written.write(encode(record) + b"\n")


def _must_differ(out: Path, files: list[Path]) -> None:
    """Raise CommandError where the audience would replace the file that it is made of."""
    if any(out.resolve() == path.resolve() for path in files):
        raise CommandError(ExitCode.USAGE, f"{out}: is also what is read", "name another file with -o")


def _listed(files: list[Path]) -> str:
    return ", ".join(map(str, files))


def _bad_gzip(path: Path, error: Exception) -> CommandError:
    what = "cut off" if isinstance(error, EOFError) else "damaged"
    return CommandError(ExitCode.NOT_FINE, f"{path}: the gzip file is {what}", "copy it again")


def _separator(text: str | None) -> str | None:
    found = SEPARATOR_WORDS.get(text.lower(), text) if text is not None else None
    if found is not None and (len(found) != 1 or found in '"\r\n'):
        raise CommandError(ExitCode.USAGE, f"--separator {text}: not one character", "for example ';' or tab")
    return found


def _encoding(name: str | None) -> str | None:
    try:
        return codecs.lookup(name).name if name is not None else None
    except LookupError:
        raise CommandError(
            ExitCode.USAGE, f"--encoding {name}: not known", "for example utf-8, cp1252 or cp1250"
        ) from None


@convert.command("pinpoint")
@reports_errors
def convert_pinpoint(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Endpoint files: CSV or JSON lines, plain or gzip.")
    ],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Make an audience from Amazon Pinpoint's endpoint files.

    APNS, APNS_SANDBOX and GCM endpoints are converted; users who opted out, inactive
    endpoints, other channels and endpoints without an address are left out and counted.

    An endpoint without User.UserId becomes a user named by the endpoint's Id.
    User.UserAttributes.NAME and Attributes.NAME become the attribute NAME.

    Example: notifier convert pinpoint export/*.gz -o audience.json.gz
    """
    _must_differ(out, files)
    counts = pinpoint.EndpointCounts()
    with output_to(out) as written:
        for path in files:
            _write_endpoints(written, path, counts)
        # Inside the `with`: an error here leaves no file behind.
        if not counts.devices:
            why = ", ".join(f"{n:,} {REASONS[reason]}" for reason, n in counts.left_out.items())
            mend = "export a segment with APNS, APNS_SANDBOX or GCM endpoints"
            raise CommandError(ExitCode.NOT_FINE, f"{_listed(files)}: every endpoint is left out: {why}", mend)
    if as_json:
        print_json({"out": str(out), **msgspec.to_builtins(counts)})
    else:
        print_conversion(console(), out, counts)


def _write_endpoints(written: IO[bytes], path: Path, counts: pinpoint.EndpointCounts) -> None:
    """Write the records of one endpoint file. Raises CommandError, also where the file has no endpoint at all."""
    before = counts.endpoints
    try:
        with text_of(path) as text:
            _write_lines(written, pinpoint.records(text, counts))
    except (BadTable, NotText) as error:
        raise CommandError(ExitCode.NOT_FINE, f"{path}: {error}", error.mend) from None
    except pinpoint.NotPinpoint as error:
        mend = "give Pinpoint's endpoint files, UTF-8"
        raise CommandError(ExitCode.NOT_FINE, f"{path}: {error}", mend) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _bad_gzip(path, error) from None
    if counts.endpoints == before:
        # An export that was cut down to nothing on the way would otherwise shrink the audience unnoticed.
        mend = "give Pinpoint's endpoint files; leave this one out if it is meant to be empty"
        raise CommandError(ExitCode.NOT_FINE, f"{path}: not one endpoint is in it", mend)
