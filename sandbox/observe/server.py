"""The pages on a port of their own, where no other server mounts them."""

from typing import Self

from sandbox.http_server import Asked, HttpServer, Reply
from sandbox.observe.pages import Observatory


class ObserveServer:
    """Serves an observatory on 127.0.0.1; `url` says where."""

    def __init__(self, observatory: Observatory, base: str = "/observe", port: int = 0) -> None:
        self._observatory = observatory
        self._server = HttpServer(self._answer, port, name="observe")
        self.url = f"http://{self._server.address}{base}/"

    def _answer(self, asked: Asked) -> Reply:
        status, kind, body = self._observatory.pages(asked.path)
        return Reply(status, body, (("Content-Type", kind),))

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
