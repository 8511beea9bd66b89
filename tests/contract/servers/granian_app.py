"""An application that granian serves: it logs each path that it has read to its end."""

import os
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """WSGI."""
    environ["wsgi.input"].read()
    path = environ["PATH_INFO"]
    # One write of an append-only file: workers and threads share it.
    with open(os.environ["SERVER_LOG"], "ab", buffering=0) as log:  # noqa: PTH123
        log.write(path.encode() + b"\n")
    start_response("410 Gone" if path.endswith("7") else "200 OK", [("content-type", "application/json")])
    return [b"{}"]
