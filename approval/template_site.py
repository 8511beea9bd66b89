"""The page of templates, and its steps."""

from approval.templates import Templates
from approval.views import Views
from approval.web import Call, Html, Route, page, person_of, see_other


class TemplateSite:
    """Page and steps of templates."""

    def __init__(self, templates: Templates, views: Views) -> None:
        self._templates = templates
        self._views = views

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each page and step."""
        return (
            (
                "GET",
                "/templates",
                lambda c: page(self._views.page("templates.html", c, templates=self._templates.all())),
            ),
            ("POST", "/requests/<id>/template", self._save),
            ("POST", "/templates/<template>/start", self._start),
            ("POST", "/templates/<template>/remove", self._remove),
        )

    def _save(self, call: Call, id: str) -> Html:  # noqa: A002 - the name in the path
        self._templates.save(id, person_of(call), call.one("name"))
        return see_other(call, "/templates?done=template")

    def _start(self, call: Call, template: str) -> Html:
        request = self._templates.start(template, person_of(call))
        return see_other(call, f"/requests/{request.id}?done=from_template")

    def _remove(self, call: Call, template: str) -> Html:
        self._templates.remove(template, person_of(call))
        return see_other(call, "/templates?done=template_removed")
