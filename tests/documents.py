"""The commands in README and docs, and what the pages say that they print."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_VARIES = re.compile(r"(?<=cancelled by )[^,\s]+|[0-9a-f]{20}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d[\d,]*(?:\.\d+)?")


class Shown(msgspec.Struct, frozen=True):
    """A command with what it prints, both as the page shows them."""

    page: str
    section: str
    command: str
    printed: str


def shown() -> Iterator[Shown]:
    """Every `$ command` in a block of a page."""
    for page in PAGES:
        section = ""
        block: list[str] | None = None
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith("```"):
                if block is not None:
                    yield from _commands(page.name, section, block)
                block = [] if block is None else None
            elif block is not None:
                block.append(line)
            elif line.startswith("#"):
                section = line.lstrip("# ")


def _commands(page: str, section: str, block: list[str]) -> Iterator[Shown]:
    """The block's commands. A command goes on in the next line after a backslash, or inside quotes."""
    lines = [line.strip() if line.strip().startswith("$ ") else line for line in block]
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            continue
        command = line.removeprefix("$ ")
        while lines and (command.endswith("\\") or not _is_whole(command)):
            command = command.removesuffix("\\") + "\n" + lines.pop(0).strip()
        printed = []
        while lines and not lines[0].startswith("$ "):
            printed.append(lines.pop(0))
        yield Shown(page, section, command.replace("\n", " "), "\n".join(printed).strip())


def _is_whole(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def alike(text: str) -> str:
    """What is the same in two runs of a command: ids, times and numbers are left out, colours, how lines are filled."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return re.sub(r"[\s─]+", " ", _VARIES.sub("#", text)).strip()
