"""The decision card on the page of a request: its facts, the text that it shows, and what has changed since."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from approval.audience import Forecast
from approval.content_changes import Change, changes
from approval.decision_card import decision_card, texts_of
from approval.looks import Looked, Looks
from approval.preview import Preview
from approval.request import Request
from approval.request_audiences import RequestAudiences
from approval.web import Call, whole

Grouped = tuple[tuple[str, tuple[tuple[str, tuple[Preview, ...]], ...]], ...]
"""Previews by arm and language, each of both platforms."""


class CardView:
    """The values of `_card.html`.

    Args:
        now: the time, aware.
    """

    def __init__(self, audiences: RequestAudiences, looks: Looks, now: Callable[[], datetime]) -> None:
        self._audiences = audiences
        self._looks = looks
        self._now = now

    def values(self, call: Call, request: Request, forecast: Forecast | None, previews: Grouped) -> dict[str, Any]:
        """The card for the visitor, with the text that the address names; else with the first that they have not seen.

        The page shows it, so it counts as seen there; it is noted when they go on, or decide.
        """
        looked = self._looks.of(request.id, call.visitor.email) if call.visitor else ()
        here = next((one for one in looked if one.content_hash == request.content_hash), None)
        texts = texts_of(request, here.texts if here else frozenset())
        asked = whole(call.asked("text"))
        first = next((text.number for text in texts if not text.is_seen), 0)
        number = asked % len(texts) if asked is not None and texts else first
        changed, looked_at_ms = self._changed(request, looked)
        texts = texts_of(request, here.texts if here else frozenset(), shown=number)
        card = decision_card(
            request, forecast, self._now(), texts, self._audiences.left_out_last(request), changed, looked_at_ms
        )
        pairs = [pair for _, languages in previews for _, pair in languages]
        return {
            "card": card,
            "text_number": number,
            "shown": pairs[number] if number < len(pairs) else (),
            "newer_seen": self._audiences.newer_audience(request),
        }

    def _changed(self, request: Request, looked: tuple[Looked, ...]) -> tuple[tuple[Change, ...] | None, int]:
        """What differs from the content that the visitor has looked at before, and when they did.

        Nothing where they have looked at no other content, or a release before kept none.
        """
        before = next((one for one in looked if one.content_hash != request.content_hash), None)
        if before is None or request.campaign is None:
            return None, 0
        old, new = (self._looks.content(request.id, hash_) for hash_ in (before.content_hash, request.content_hash))
        return (changes(old, new), before.at_ms) if old is not None and new is not None else (None, 0)
