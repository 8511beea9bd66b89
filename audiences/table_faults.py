"""DuckDB's messages about files in plain words: its own quote lines of the file, which may hold tokens."""

import re
from pathlib import PurePath

from notifier.audience.json_faults import NOT_UTF8
from notifier.model.plurals import counted

_LINE = re.compile(r"Line: (\d+)")
_OTHER_CELLS = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
_FILE = re.compile(r'(?:file = |[Ff]ile ["\']|stream: |file )(?P<path>/[^"\'\n]+)')
_OF_JSON = re.compile(r"Malformed JSON in file .* in (?:line|record/value) (\d+)")
_AGAIN = "fix this line, or export it again"
_WHOLE = "export it again, or copy it again"


def fault_in_words(message: str) -> tuple[str, str] | None:
    """The problem, with its line, and what to do; None for a message that is not about a file's text."""
    found = _LINE.search(message)
    where = f"line {found[1]}" if found else "it"
    if cells := _OTHER_CELLS.search(message):
        problem = f"{where} has {counted(int(cells[2]), 'cell')}, and the header {counted(int(cells[1]), 'column')}"
        return problem, "put a text that contains the separator into quotes"
    if "Maximum line size" in message:
        return f"{where} is over 4 MiB: is a quote missing?", _AGAIN
    if "unterminated quote" in message:
        mend = "within quotes a quote is written twice, and not with a backslash before it"
        return f"{where}: a quote is not closed where its cell ends", mend
    if "nvalid unicode" in message or "not utf-8" in message or "string encoding" in message:
        return f"{where}: {NOT_UTF8}" if found else NOT_UTF8, ""
    if "sniffing file" in message:
        return "no table that can be recognised", "save it as CSV UTF-8, with a first line of names"
    if broken := _OF_JSON.search(message):
        return f"near line {broken[1]}: not JSON", _AGAIN
    if "GZIP" in message or "ZSTD" in message:
        return "damaged gzip or zstd, or cut off", _WHOLE
    if "No magic bytes" in message or "too small to be a Parquet" in message:
        return "damaged Parquet, or cut off", _WHOLE
    return (f"{where}: it cannot be read", _AGAIN) if "CSV Error" in message else None


def file_in(message: str) -> str:
    """The name of the file that a message is about; "" if there is none."""
    found = _FILE.search(message)
    return PurePath(found["path"].strip()).name if found else ""
