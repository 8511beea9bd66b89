"""The decision card on the page of a request: its facts, the text that it shows, and what has changed since."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from approval.audience import Forecast
from approval.content_changes import Change, changes
from approval.decision_card import TextShown, decision_card, texts_of
from approval.looks import Looked, Looks
from approval.preview import Preview, previews_of_text
from approval.request import Request, State
from approval.request_audiences import RequestAudiences
from approval.user_times import TimesForecast
from approval.web import Call, whole
from notifier.model.mailbox import is_same_person


def number_shown(call: Call, texts: Sequence[TextShown]) -> int:
    """The number of the text that the address names; else of the first that the visitor has not seen."""
    asked = whole(call.asked("text"))
    if asked is not None and texts:
        return asked % len(texts)
    return next((text.number for text in texts if not text.is_seen), 0)


class CardView:
    """The values of `_card.html`.

    Args:
        now: the time, aware.
    """

    def __init__(self, audiences: RequestAudiences, looks: Looks, now: Callable[[], datetime]) -> None:
        self._audiences = audiences
        self._looks = looks
        self._now = now

    def values(
        self,
        call: Call,
        request: Request,
        forecast: Forecast | None,
        times: TimesForecast | None,
        user: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """The card for the visitor, with the text that the address names; else with the first that they have not seen.

        The page shows it, so it counts as seen there; it is noted when they go on. That they have looked at this
        content at all is noted at once: of a request with one text nobody goes on to the next one.

        Args:
            user: whom the text is filled in for; None for nobody in particular.
        """
        looked = self._looks.of(request.id, call.visitor.email) if call.visitor else ()
        here = next((one for one in looked if one.content_hash == request.content_hash), None)
        texts = texts_of(request, here.texts if here else frozenset())
        number = number_shown(call, texts)
        changed, looked_at_ms = self._changed(request, looked)
        texts = texts_of(request, here.texts if here else frozenset(), shown=number)
        left_out = self._audiences.left_out_last(request)
        card = decision_card(request.campaign, forecast, self._now(), texts, left_out, changed, looked_at_ms, times)
        self._note(call, request)
        # Made for itself: the page's other previews may be fewer than the texts.
        shown: tuple[Preview, ...] = ()
        if request.campaign is not None and number < len(texts):
            shown = previews_of_text(request.campaign, user, texts[number].arm, texts[number].locale)
        return {
            "card": card,
            "text_number": number,
            "shown": shown,
            "newer_seen": self._audiences.newer_audience(request),
        }

    def _note(self, call: Call, request: Request) -> None:
        """Note that an approver has the content before them, so that a later card says what has changed since."""
        now = self._now()
        state = request.state_at(int(now.timestamp() * 1000))
        is_theirs = call.visitor is not None and is_same_person(call.visitor.email, request.requester)
        if call.visitor and call.visitor.person.is_approver and not is_theirs and state is State.IN_REVIEW:
            self._looks.look(request.id, call.visitor.email, request.content_hash, (), int(now.timestamp() * 1000))

    def _changed(self, request: Request, looked: tuple[Looked, ...]) -> tuple[tuple[Change, ...] | None, int]:
        """What differs from the content that the visitor has looked at before, and when they did.

        Nothing where they have looked at no other content, or a release before kept none.
        """
        before = next((one for one in looked if one.content_hash != request.content_hash), None)
        if before is None or request.campaign is None:
            return None, 0
        old, new = (self._looks.content(request.id, hash_) for hash_ in (before.content_hash, request.content_hash))
        return (changes(old, new), before.at_ms) if old is not None and new is not None else (None, 0)
