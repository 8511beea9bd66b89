"""`convert`: audiences of other tools' files."""

import codecs
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from typer.core import TyperGroup

from operations.cli.options import AsJson, console, print_json
from operations.cli.shown import REASONS, show_conversion, show_table_conversion
from operations.cli.trouble import ExitCode, Trouble, tells_trouble
from operations.convert import audience, pinpoint
from operations.convert.files import NotText, encoding_of, output_to, text_of
from operations.convert.table import BadTable

TABLE = "table"
SEPARATOR_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|"}

Out = Annotated[Path, typer.Option("--out", "-o", help="The audience to write; gzipped if its name ends in .gz.")]


class TableUnlessNamed(TyperGroup):
    """`notifier convert audience.csv …` is `notifier convert table audience.csv …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before arguments that begin with none."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [TABLE, *args]
        return super().parse_args(ctx, args)


convert = typer.Typer(
    cls=TableUnlessNamed,
    help="Make audiences of other tools' files. Without a command: of tables (CSV).",
    epilog="Example: notifier convert audience.csv -o audience.jsonl",
    no_args_is_help=True,
)


@convert.command(TABLE)
@tells_trouble
def convert_table(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Tables: CSV with commas, semicolons or tabs, plain or gzip."),
    ],
    out: Out,
    separator: Annotated[
        str | None, typer.Option(help="What is between two cells: one character, or tab. Default: found out.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of the text, for example cp1250 or mac_roman. Default: found out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an audience of a table with the columns user_id, platform and token: one row a device.

    gateway, environment, locale and timezone are taken too, columns in any case; all others become attributes, as
    texts. Rows of one user that stand next to each other become one record. Encoding (UTF-8, UTF-16, Windows-1252) and
    separator are found out, also by Excel's line "sep=;". Rows that cannot be sent to are left out and counted.

    Example: notifier convert audience.csv -o audience.jsonl
    """
    counts = audience.Counts()
    with output_to(out) as written:
        read = [_table_into(written, path, counts, _separator(separator), _encoding(encoding)) for path in files]
        if not counts.devices:
            why = "; ".join(f"{group.count:,} × {group.reason}" for group in counts.left_out) or "it has no rows"
            mend = "platform is ios, android or web, and token is what the app was given"
            raise Trouble(ExitCode.NOT_FINE, f"{', '.join(map(str, files))}: nobody to send to: {why}", mend)
    if as_json:
        print_json({"out": str(out), "read": read, **msgspec.to_builtins(counts)})
    else:
        show_table_conversion(console(), out, counts, read)


def _table_into(
    written: Any, path: Path, counts: audience.Counts, separator: str | None, encoding: str | None
) -> dict[str, str]:
    """Write a file's rows. Returns how it was read."""
    encode = msgspec.json.Encoder().encode
    try:
        encoding = encoding or encoding_of(path)
        with text_of(path, encoding) as text:
            table, found = audience.records(text, counts, separator)
            for record in found:
                written.write(encode(record) + b"\n")
    except (BadTable, NotText) as error:
        raise Trouble(ExitCode.NOT_FINE, f"{path}: {error}", error.mend) from None
    except UnicodeError:
        raise Trouble(ExitCode.NOT_FINE, f"{path}: not {encoding} throughout", "say its --encoding") from None
    except EOFError:
        raise Trouble(ExitCode.NOT_FINE, f"{path}: the gzip file is cut off", "copy it again") from None
    return {"file": str(path), "encoding": encoding, "separator": table.separator_name}


def _separator(text: str | None) -> str | None:
    found = SEPARATOR_WORDS.get(text.lower(), text) if text is not None else None
    if found is not None and (len(found) != 1 or found in '"\r\n'):
        raise Trouble(ExitCode.USAGE, f"--separator {text}: not one character", "for example ';' or tab")
    return found


def _encoding(name: str | None) -> str | None:
    try:
        return codecs.lookup(name).name if name is not None else None
    except LookupError:
        raise Trouble(ExitCode.USAGE, f"--encoding {name}: not known", "for example utf-8, cp1252 or cp1250") from None


@convert.command("pinpoint")
@tells_trouble
def convert_pinpoint(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Endpoint files: CSV or JSON lines, plain or gzip.")
    ],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Make an audience of Amazon Pinpoint's endpoint files.

    APNS, APNS_SANDBOX and GCM endpoints are taken; users who opted out, inactive endpoints, other channels and
    endpoints without an address are left out and counted. An endpoint without User.UserId goes by its own Id.
    User.UserAttributes.* and Attributes.* become attributes by their last name: {{ FirstName }}.

    Example: notifier convert pinpoint export/*.gz -o audience.json.gz
    """
    counts = pinpoint.Counts()
    encode = msgspec.json.Encoder().encode
    with output_to(out) as written:
        for path in files:
            try:
                before = counts.endpoints
                with text_of(path) as text:
                    for record in pinpoint.records(text, counts):
                        written.write(encode(record) + b"\n")
            except (BadTable, NotText) as error:
                raise Trouble(ExitCode.NOT_FINE, f"{path}: {error}", error.mend) from None
            except pinpoint.NotPinpoint as error:
                raise Trouble(ExitCode.NOT_FINE, f"{path}: {error}", "give Pinpoint's endpoint files, UTF-8") from None
            except EOFError:
                raise Trouble(ExitCode.NOT_FINE, f"{path}: the gzip file is cut off", "copy it again") from None
            if counts.endpoints == before:
                mend = "give Pinpoint's endpoint files; leave this one out if it is meant to be empty"
                raise Trouble(ExitCode.NOT_FINE, f"{path}: not one endpoint is in it", mend)
        if not counts.devices:
            why = ", ".join(f"{n:,} {REASONS[reason]}" for reason, n in counts.left_out.items())
            mend = "export a segment with APNS, APNS_SANDBOX or GCM endpoints"
            names = ", ".join(map(str, files))
            raise Trouble(ExitCode.NOT_FINE, f"{names}: every endpoint is left out: {why}", mend)
    if as_json:
        print_json({"out": str(out), **msgspec.to_builtins(counts)})
    else:
        show_conversion(console(), out, counts)
