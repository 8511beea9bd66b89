"""Members that a campaign has twice: JSON decoders keep the last and drop the others without an error.

Read from the beginning of the file, where the campaign is as a rule. One behind the users is not checked: that would
cost a second pass over all of them.
"""

import json
import re
from collections.abc import Iterator

_CAMPAIGN = re.compile(r'\s*\{\s*"campaign"\s*:\s*')


class _Members(list[tuple[str, object]]):
    """An object as its members in order, repeated ones included."""


def repeated_keys(head: bytes) -> Iterator[str]:
    """Paths such as `campaign.message.title` that occur more than once; none where the campaign does not come first.

    Args:
        head: the beginning of a batch file. A campaign that is cut off in it is not checked.
    """
    text = head.decode("utf-8-sig", "replace")
    begin = _CAMPAIGN.match(text)
    if begin is None:
        return
    try:
        campaign, _ = json.JSONDecoder(object_pairs_hook=_Members).raw_decode(text, begin.end())
    except (ValueError, RecursionError):  # the worker's parser says what is wrong, and where
        return
    yield from _repeated(campaign, "campaign")


def _repeated(value: object, path: str) -> Iterator[str]:
    match value:
        case _Members():
            seen: set[str] = set()
            for name, member in value:
                if name in seen:
                    yield f"{path}.{name}"
                seen.add(name)
                yield from _repeated(member, f"{path}.{name}")
        case list():
            for n, item in enumerate(value):
                yield from _repeated(item, f"{path}[{n}]")
