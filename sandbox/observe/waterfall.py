"""One trace as a waterfall: what came after what, under whom, and for how long."""

import json
from collections.abc import Iterator
from html import escape

from sandbox.observe.service_map import AWS_NAMES
from sandbox.xray import FUNCTION, SERVICE, Document, Trace

_HINT_MAX_CHARS = 600


def waterfall(trace: Trace) -> str:
    """The table: a row for each document, indented under its caller, with a bar where it was in time."""
    began_s, whole_s = trace.began_s, max(trace.ended_s - trace.began_s, 0.001)
    rows = "".join(_row(document, depth, began_s, whole_s) for document, depth in ordered(trace))
    return (
        '<table><thead><tr><th>What</th><th class="number">Status</th><th class="number">ms</th>'
        f"<th>{whole_s * 1000:,.0f} ms from left to right</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def ordered(trace: Trace) -> Iterator[tuple[Document, int]]:
    """Each document with its depth; those under one caller in the order in which they began."""
    known = {document.id for document in trace.documents}
    under: dict[str, list[Document]] = {}
    for document in sorted(trace.documents, key=lambda document: document.began_s):
        parent = document.parent_id if document.parent_id in known else ""
        under.setdefault(parent or "", []).append(document)
    stack = [(document, 0) for document in reversed(under.get("", []))]
    while stack:
        document, depth = stack.pop()
        yield document, depth
        stack += [(child, depth + 1) for child in reversed(under.get(document.id, []))]


def label(document: Document) -> str:
    """What a row is called."""
    if document.namespace == "aws":
        operation = document.detail.get("aws", {}).get("operation", "")
        return f"{AWS_NAMES.get(document.name, document.name)} {operation}".strip()
    if document.origin in (SERVICE, FUNCTION):
        return f"{document.name} ({document.origin.replace('AWS::', '').replace('::', ' ').lower()})"
    return document.name


def _row(document: Document, depth: int, began_s: float, whole_s: float) -> str:
    left = (document.began_s - began_s) / whole_s * 100
    width = (document.ended_s - document.began_s) / whole_s * 100
    kind = "failed" if document.failed else _kind(document)
    status = str(document.status or "") + (" fault" if document.fault else " error" if document.error else "")
    facts = {**document.detail.get("annotations", {}), **_exceptions(document)}
    facts.pop("kept_as", None)
    kept = document.detail.get("annotations", {}).get("kept_as", "")
    more = f' <span class="dim">{escape(str(kept))}</span>' if kept else ""
    metadata = document.detail.get("metadata", {}).get("notifier", {})
    what = escape(label(document))
    hint = escape(json.dumps({**facts, **metadata}, ensure_ascii=False)[:_HINT_MAX_CHARS], quote=True)
    return (
        f'<tr title="{hint}"><td class="name" style="padding-left:{depth * 1.1:.1f}rem">{what}{more}</td>'
        f'<td class="number">{escape(status.strip())}</td><td class="number">{document.took_ms:,.0f}</td>'
        f'<td><div class="bar"><i class="{kind}" style="left:{left:.2f}%;width:{width:.2f}%"></i></div></td></tr>'
    )


def _exceptions(document: Document) -> dict[str, str]:
    cause = document.detail.get("cause")
    if not isinstance(cause, dict):
        return {}
    return {str(one.get("type", "")): str(one.get("message", "")) for one in cause.get("exceptions", ())}


def _kind(document: Document) -> str:
    if document.origin:
        return "lambda"
    return document.namespace if document.namespace in ("aws", "remote") else "local"
