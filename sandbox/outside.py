"""The world outside the stack, to look at: the mails that were sent and the phones that got a push, on localhost."""

import html
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from sandbox.gateways import Gateways
from sandbox.http_server import Asked, HttpServer, Reply
from sandbox.scene import PHONES, Phone, mails

_STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:960px;margin:0 auto;padding:20px 16px}
nav a{margin-right:16px}iframe{width:100%;height:640px;border:1px solid #8888;border-radius:12px;background:#fff}
li{margin:6px 0}.phones{display:flex;flex-wrap:wrap;gap:24px}.phone{width:270px}h2{font-size:1rem}
.screen{border:8px solid #23272d;border-radius:34px;background:#27304c;min-height:380px;padding:18px 10px;color:#fff}
.android .screen{border-radius:22px;background:#1f3531}.clock{text-align:center;font-size:2.2rem;margin:0 0 14px}
.push{background:#f4f5f8;color:#111418;border-radius:16px;padding:9px 12px;margin-bottom:8px;font-size:.87rem}
.push b{display:block}.push small{color:#565c66}.push p{margin:0;overflow-wrap:anywhere;white-space:pre-line}
.none{opacity:.8;text-align:center}
"""


class Outside:
    """One small server: `/` with all addresses, `/mails`, `/mails/N`, `/phones`.

    Args:
        addresses: what `/` lists: name and URL.
        endpoint_url: of the local AWS.
    """

    def __init__(
        self, endpoint_url: str, gateways: Gateways, addresses: Sequence[tuple[str, str]], port: int = 0
    ) -> None:
        self._endpoint_url = endpoint_url
        self._gateways = gateways
        self._addresses = addresses
        self._server = HttpServer(self._answer, port, name="outside")
        self.url = f"http://localhost:{self._server.port}"

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def _answer(self, asked: Asked) -> Reply:
        text = self.page(urlsplit(asked.path).path)
        body = (text or _page("Nothing here", "", refresh=False)).encode()
        headers = (("Content-Type", "text/html; charset=utf-8"), ("Referrer-Policy", "no-referrer"))
        return Reply(404 if text is None else 200, body, headers)

    def page(self, path: str) -> str | None:
        """The page of a path, or None."""
        if path == "/":
            items = "".join(
                f'<li>{html.escape(n)}: <a href="{html.escape(u)}">{html.escape(u)}</a>' for n, u in self._addresses
            )
            return _page("The sandbox", f"<ul>{items}</ul>", refresh=False)
        if path == "/mails":
            return self._mails()
        if match := re.fullmatch(r"/mails/(\d+)", path):
            return self._mail(int(match[1]))
        return self._phones() if path == "/phones" else None

    def _mails(self) -> str:
        found = list(enumerate(mails(self._endpoint_url)))
        rows = "".join(
            f'<li><a href="/mails/{n}">{html.escape(mail["subject"])}</a> to {html.escape(mail["to"])}'
            for n, mail in reversed(found)
        )
        return _page("Mails", f"<ul>{rows}</ul>" if rows else "<p>No mail was sent yet.</p>")

    def _mail(self, number: int) -> str | None:
        found = mails(self._endpoint_url)
        if number >= len(found):
            return None
        mail = found[number]
        # Links open in the whole window; nothing in a mail may run here.
        framed = html.escape(mail["html"].replace("<head>", '<head><base target="_top">'))
        text = re.sub(r"(https?://\S+)", r'<a href="\1">\1</a>', html.escape(mail["text"]))
        frame = (
            f'<iframe title="The mail" sandbox="allow-top-navigation-by-user-activation" srcdoc="{framed}"></iframe>'
        )
        about = f"<p>To {html.escape(mail['to'])}</p>"
        plain = f"<details><summary>As plain text</summary><pre>{text}</pre></details>"
        return _page(mail["subject"], about + frame + plain, refresh=False)

    def _phones(self) -> str:
        return _page("Phones", f'<div class="phones">{"".join(map(self._phone, PHONES))}</div>')

    def _phone(self, phone: Phone) -> str:
        pushes = "".join(_push(push) for push in reversed(self._gateways.pushes(phone.token)))
        screen = pushes or '<p class="none">Nothing yet</p>'
        return (
            f'<section class="phone {phone.platform}"><h2>{html.escape(phone.label)}</h2>'
            f'<div class="screen"><p class="clock">9:41</p>{screen}</div></section>'
        )


def _push(push: dict[str, Any]) -> str:
    """A push as it would look, from the payload that the gateway took."""
    payload = push["payload"]
    alert = (payload.get("aps") or {}).get("alert") or (payload.get("message") or payload).get("notification") or {}
    # Apple takes a text for an alert without a title.
    if isinstance(alert, str):
        alert = {"body": alert}
    title, body = (html.escape(str(alert.get(name, ""))) for name in ("title", "body"))
    return f'<div class="push"><small>Your app</small><b>{title}</b><p>{body}</p></div>'


def _page(title: str, body: str, *, refresh: bool = True) -> str:
    again = '<meta http-equiv="refresh" content="2">' if refresh else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'{again}<link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
        '<nav><a href="/">Sandbox</a><a href="/mails">Mails</a><a href="/phones">Phones</a></nav>'
        f"<h1>{html.escape(title)}</h1>{body}</html>"
    )
