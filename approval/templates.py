"""Templates: forms of requests that people start from. In the approval app's table, until a person deletes them.

| pk | sk | holds |
|---|---|---|
| `templates` | id | name, who made it, when, and the form without its start |
"""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from approval import request as rules
from approval.form import Form
from approval.people import Person
from approval.request import Limits, Refused, Request, Step, require
from approval.step_writer import StepWriter
from approval.store import NoSuchRequest, Store
from approval.table import Table
from notifier.dynamodb import item_of
from notifier.model.mailbox import is_same_person

PK = "templates"
MAX_TEMPLATES = 200
MAX_NAME_CHARS = 80


class NoSuchTemplate(NoSuchRequest):
    """There is no template of this id."""


class Template(msgspec.Struct, frozen=True, omit_defaults=True):
    """A form to start from, and who made it. `from_id` is the request that it was made of."""

    id: str
    name: str
    by: str
    at_ms: int
    form: Form
    from_id: str = ""


class Templates(Table):
    """Saves, lists and starts from templates. Checks each person's role.

    Args:
        new_id: makes a request's id.
    """

    def __init__(
        self, client: Any, table: str, store: Store, steps: StepWriter, limits: Limits, new_id: Callable[[], str]
    ) -> None:
        super().__init__(client, table)
        self._store = store
        self._steps = steps
        self._limits = limits
        self._new_id = new_id

    def all(self) -> list[Template]:
        """Templates by name."""
        items = self._items(PK, limit=MAX_TEMPLATES)
        found = [msgspec.json.decode(item["data"]["S"], type=Template) for item in items]
        return sorted(found, key=lambda one: (one.name.lower(), one.id))

    def save(self, request_id: str, person: Person, name: str) -> Template:
        """Save a request's form as a template."""
        require(person.is_requester, "Only requesters make templates.")
        request = self._store.request(request_id)
        # What was never sent for review is its writer's own.
        is_mine = is_same_person(person.email, request.requester)
        require(is_mine or request.campaign is not None, "Only its requester can make a template of a draft.")
        name = " ".join((name or request.title).split())[:MAX_NAME_CHARS]
        if len(self._items(PK, limit=MAX_TEMPLATES)) >= MAX_TEMPLATES:
            raise Refused(f"There are {MAX_TEMPLATES} templates. Delete one that nobody needs.")
        # A start is a day of its own; the name is given when the request is made, because it names one campaign.
        form = msgspec.structs.replace(request.form, name="", start="", latest="")
        template = Template(secrets.token_hex(8), name, person.email, self._steps.now_ms, form, request.id)
        data = msgspec.json.encode(template).decode()
        self._client.put_item(TableName=self._table, Item=item_of({"pk": PK, "sk": template.id, "data": data}))
        self._steps.log("template_saved", template=template.id, request_id=request.id, by=person.email)
        return template

    def start(self, id_: str, person: Person) -> Request:
        """A new draft with a template's form."""
        require(person.is_requester, "Only requesters can make a request.")
        template = self._template(id_)
        request = rules.created(self._new_id(), person.email, self._steps.now_ms, self._limits, template.form)
        self._store.create(request, self._steps.entry(Step.CREATED, person, f"from the template {template.name}"))
        self._steps.log(Step.CREATED, request_id=request.id, by=person.email, template=template.id)
        return request

    def remove(self, id_: str, person: Person) -> None:
        """Delete a template: for who made it, and for approvers."""
        template = self._template(id_)
        is_mine = is_same_person(person.email, template.by)
        require(is_mine or person.is_approver, "Only who made a template, or an approver, can delete it.")
        self._client.delete_item(TableName=self._table, Key=item_of({"pk": PK, "sk": id_}))
        self._steps.log("template_removed", template=id_, by=person.email)

    def _template(self, id_: str) -> Template:
        item = self._get(PK, id_)
        if item is None:
            raise NoSuchTemplate(id_)
        return msgspec.json.decode(item["data"]["S"], type=Template)
