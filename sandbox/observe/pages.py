"""The pages: map, list of traces, one trace."""

import time
from html import escape
from urllib.parse import parse_qs, quote, urlsplit

from notifier.model.plurals import counted
from sandbox.observe.drawing import page, svg
from sandbox.observe.service_map import ServiceMap, service_map
from sandbox.observe.waterfall import waterfall
from sandbox.xray import Daemon, Trace

Answer = tuple[int, str, bytes]
HTML = "text/html; charset=utf-8"
LISTED = 60


class Observatory:
    """Answers requests for the pages.

    Args:
        daemon: who keeps the documents.
        base: where the pages are mounted, without a slash at its end.
    """

    def __init__(self, daemon: Daemon, base: str = "/observe") -> None:
        self._daemon = daemon
        self._base = base

    def pages(self, path: str) -> Answer:
        """Status, content type and body for a path with its query, `base` included."""
        url = urlsplit(path)
        rest = url.path.removeprefix(self._base).strip("/")
        if not rest:
            return 200, HTML, self._overview(parse_qs(url.query).get("q", [""])[0].strip())
        name, _, trace_id = rest.partition("/")
        trace = self._daemon.trace(trace_id) if name == "trace" else None
        if trace is None:
            back = f'<p>Nothing here. <a href="{self._base}/">All traces</a></p>'
            return 404, HTML, page("Not found", back)
        return 200, HTML, self._trace(trace)

    def _overview(self, query: str) -> bytes:
        traces = [trace for trace in self._daemon.traces() if matches(trace, query)]
        found = service_map(traces)
        total = sum(len(trace.documents) for trace in traces)
        count = counted(len(traces), "trace")
        about = f"{count}, {total:,} documents" + (f", with {escape(query)!r}" if query else "")
        body = (
            f"<h1>Service map</h1><p class=dim>{about}. What X-Ray would show of this sandbox.</p>"
            f'<form role="search" action="{self._base}/"><label>Find a run, a campaign, a request: '
            f'<input type="search" name="q" value="{escape(query, quote=True)}"></label></form>'
            f'<h2>What stands out</h2><section class="card">{_findings(found)}</section>'
            f'<h2>Who calls whom</h2><section class="card">{svg(found)}</section>'
            f'<h2>Traces, newest first</h2><section class="card">{self._list(traces[:LISTED])}</section>'
        )
        return page("Service map", body)

    def _list(self, traces: list[Trace]) -> str:
        rows = "".join(self._line(trace) for trace in traces)
        return (
            '<table><thead><tr><th>Began</th><th class="number">ms</th><th class="number">Documents</th>'
            '<th class="number">Bytes</th><th>Failing parts</th><th>Found by</th></tr></thead>'
            f"<tbody>{rows}</tbody></table>"
        )

    def _line(self, trace: Trace) -> str:
        failed = sorted({document.name for document in trace.documents if document.failed})
        annotations = trace.annotations()
        found_by = ", ".join(f"{name} {value}" for name, value in annotations.items() if name != "cold_start")
        at = time.strftime("%H:%M:%S", time.localtime(trace.began_s))
        took_ms = (trace.ended_s - trace.began_s) * 1000
        link = f"{self._base}/trace/{quote(trace.id)}"
        return (
            f'<tr><td><a href="{link}">{at}</a></td><td class="number">{took_ms:,.0f}</td>'
            f'<td class="number">{len(trace.documents)}</td><td class="number">{trace.size:,}</td>'
            f"<td>{escape(', '.join(failed))}</td><td>{escape(found_by)}</td></tr>"
        )

    def _trace(self, trace: Trace) -> bytes:
        annotations = "".join(
            f"<tr><th>{escape(name)}</th><td><code>{escape(str(value))}</code></td></tr>"
            for name, value in trace.annotations().items()
        )
        body = (
            f'<p><a href="{self._base}/">← Service map</a></p><h1>Trace <code>{escape(trace.id)}</code></h1>'
            f'<p class="dim">{len(trace.documents)} documents, {trace.size:,} of 500,000 bytes</p>'
            f'<section class="card">{svg(service_map([trace]))}</section>'
            f'<h2>Annotations</h2><section class="card"><table>{annotations}</table></section>'
            f'<h2>Waterfall</h2><section class="card">{waterfall(trace)}</section>'
        )
        return page(f"Trace {trace.id}", body)


def matches(trace: Trace, query: str) -> bool:
    """Whether a trace is found by a word: its id, or any value it is annotated with."""
    return not query or query == trace.id or any(query == str(value) for value in trace.annotations().values())


def _findings(found: ServiceMap) -> str:
    findings = found.findings()
    if not findings:
        return '<ul class="findings"><li><span class="badge fine">nothing</span> No node fails or is slow.</li></ul>'
    items = "".join(
        f'<li data-finding="{finding.what}"><span class="badge {finding.what}">{finding.what}</span> '
        f"<strong>{escape(finding.node)}</strong> {escape(finding.text)}</li>"
        for finding in findings
    )
    return f'<ul class="findings">{items}</ul>'
