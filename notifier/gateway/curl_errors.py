"""What libcurl's error codes mean for a push: certainly not processed, or perhaps.

Two facts decide. Neither FCM nor APNs acts on a request whose body did not end, so a request whose body libcurl had
not taken from us was refused, whatever the code. Of a request that was taken, only what `REFUSED_AFTER_BODY` lists
is certain; everything else, unknown codes included, may have been processed.
Codes: https://curl.se/libcurl/c/libcurl-errors.html
"""

from __future__ import annotations

import re

import pycurl

from notifier.model.exchange import NoAnswer

MEANINGS = {
    pycurl.E_COULDNT_RESOLVE_PROXY: "the proxy's name did not resolve",
    pycurl.E_COULDNT_RESOLVE_HOST: "the host's name did not resolve",
    pycurl.E_COULDNT_CONNECT: "no TCP connection",
    pycurl.E_HTTP2: "HTTP/2 framing error, or GOAWAY without an answer",
    pycurl.E_PARTIAL_FILE: "the answer was cut off",
    pycurl.E_WRITE_ERROR: "the answer could not be taken",
    pycurl.E_READ_ERROR: "the body could not be handed over",
    pycurl.E_OPERATION_TIMEDOUT: "no answer in time",
    pycurl.E_SSL_CONNECT_ERROR: "TLS handshake failed, or the server does not speak HTTP/2",
    pycurl.E_ABORTED_BY_CALLBACK: "aborted by a callback of ours",
    pycurl.E_GOT_NOTHING: "the server closed without an answer",
    pycurl.E_SEND_ERROR: "the connection broke while sending",
    pycurl.E_RECV_ERROR: "the connection broke while waiting",
    pycurl.E_SSL_CERTPROBLEM: "our certificate was not usable",
    pycurl.E_SSL_CIPHER: "no common cipher",
    pycurl.E_PEER_FAILED_VERIFICATION: "the server's certificate is not trusted",
    pycurl.E_SEND_FAIL_REWIND: "the connection ended or refused the stream; libcurl wanted to send again and may not",
    pycurl.E_SSL_CACERT_BADFILE: "the CA bundle could not be read",
    pycurl.E_SSL_SHUTDOWN_FAILED: "TLS shutdown failed",
    pycurl.E_NO_CONNECTION_AVAILABLE: "no connection was free",
    92: "the server reset the stream",
}
"""libcurl's code in our words. libcurl's own error text is not used: it may quote what was sent."""

REFUSED_AFTER_BODY = {
    pycurl.E_COULDNT_RESOLVE_PROXY: "nothing was connected, so nothing of this attempt arrived",
    pycurl.E_COULDNT_RESOLVE_HOST: "nothing was connected",
    pycurl.E_COULDNT_CONNECT: "nothing was connected",
    pycurl.E_SSL_CONNECT_ERROR: "the handshake precedes every request",
    pycurl.E_SSL_CERTPROBLEM: "the handshake precedes every request",
    pycurl.E_SSL_CIPHER: "the handshake precedes every request",
    pycurl.E_PEER_FAILED_VERIFICATION: "the handshake precedes every request",
    pycurl.E_SSL_CACERT_BADFILE: "the handshake precedes every request",
    pycurl.E_NO_CONNECTION_AVAILABLE: "it was still waiting for a connection",
}
"""Codes that prove that a request was not processed although libcurl had taken its body, with the reason."""

STREAM_ONLY = frozenset({pycurl.E_OPERATION_TIMEDOUT, pycurl.E_WRITE_ERROR, 92})
"""Codes that end one stream and say nothing about its connection."""

_H2_CODE = re.compile(r"\b(NO_ERROR|[A-Z]+_[A-Z_]+|CANCEL)\b")
_REFUSED_STREAM = "REFUSED_STREAM"


def no_answer(code: int, text: str, *, body_taken: bool) -> tuple[NoAnswer, str]:
    """Return the meaning of libcurl's `code` and a detail to show; `text` is only searched for an HTTP/2 code."""
    reset = _H2_CODE.search(text) if code in (pycurl.E_HTTP2, 92) else None
    detail = f"curl {code}: {MEANINGS.get(code, 'no further meaning known')}"
    if reset is not None:
        detail += f" ({reset[1]})"
    refused = not body_taken or code in REFUSED_AFTER_BODY or (reset is not None and reset[1] == _REFUSED_STREAM)
    return (NoAnswer.REFUSED if refused else NoAnswer.UNANSWERED), detail
