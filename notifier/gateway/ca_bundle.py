"""The certificate authorities that the transport trusts: certifi's, and one more where it is given."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

import certifi


def ca_bundle(extra_file: str) -> IO[bytes]:
    """Write certifi's authorities and those of `extra_file` (PEM; empty for none) to one temporary file.

    libcurl's CAINFO replaces its default, so there must be one file with all. Closing the file removes it.
    Raises OSError where `extra_file` cannot be read.
    """
    bundle = tempfile.NamedTemporaryFile(prefix="authorities-", suffix=".pem")  # noqa: SIM115 (lives as long as us)
    bundle.write(Path(certifi.where()).read_bytes())
    if extra_file:
        bundle.write(b"\n" + Path(extra_file).read_bytes())
    bundle.flush()
    return bundle
