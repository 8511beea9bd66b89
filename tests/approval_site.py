"""The approval app on moto's server, spoken to as API Gateway does: REST proxy events with the authorizer in front."""

import base64
import gzip
import os
import re
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from functools import cache
from hashlib import sha256
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError

from approval.app import App
from approval.config import Settings
from approval.mail import Mail
from approval.request import Limits
from approval.sign_in import COOKIE, ConstantTime
from notifier.model.audience_counts import AttributeCounts, Counts
from tests.contract.moto_stores import FOREIGN, KEYS, USER_AGENT, moto_server

BUCKET, LEDGER, TABLE = "campaigns", "ledger", "approval"
ANN, BOB, CAT, EVE = "ann@example.com", "bob@example.com", "cat@example.com", "eve@elsewhere.org"
STAGE = "/prod"
HOST = "abc.execute-api.eu-west-1.amazonaws.com"


@dataclass
class Clock:
    """A clock that is put forward by hand."""

    now: datetime = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        """By `timedelta`'s words."""
        self.now += timedelta(**by)


@dataclass
class Mailbox:
    """Keeps the mails that it is given. `before` is called first: it takes time, or fails."""

    mails: list[dict[str, str]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    def send(self, mail: Mail) -> None:
        """Keep it."""
        self.before()
        self.mails.append(mail._asdict())

    def link(self, to: str) -> str:
        """The newest link to an address: its path and query, without the stage."""
        text = next(mail["text"] for mail in reversed(self.mails) if mail["to"] == to and "/link?t=" in mail["text"])
        url = re.search(rf"https://{re.escape(HOST)}{STAGE}(/link\S+)", text)
        assert url is not None
        return url[1]


class Watch:
    """A steady clock on which only sleeping, and what is said to be slow, takes time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.seconds += seconds


class Lambda:
    """A function that remembers what it was asked."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}
        self.refuses_with = ""
        self.fails = False

    def invoke(self, **request: Any) -> dict[str, Any]:
        """Keep the event. `refuses_with` is a code of Lambda itself; `fails` says that the function did."""
        if self.refuses_with:
            raise ClientError({"Error": {"Code": self.refuses_with, "Message": "Rate Exceeded."}}, "Invoke")
        self.events.append(msgspec.json.decode(request["Payload"]))
        if request["InvocationType"] == "RequestResponse":
            failed = {"FunctionError": "Unhandled"} if self.fails else {}
            return {"StatusCode": 200, "Payload": BytesIO(msgspec.json.encode(self.answer)), **failed}
        return {"StatusCode": 202}


class Functions:
    """boto3's Lambda client, as far as the app uses it."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = dict(functions)

    def add(self, name: str, function: Any) -> None:
        """One more function: something with `invoke`."""
        self._functions[name] = function

    def invoke(self, **request: Any) -> Any:
        """Pass the event on."""
        return self._functions[request["FunctionName"]].invoke(**request)


@dataclass
class Answer:
    """What a browser would have got."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def location(self) -> str:
        """Where it is sent on to, without stage and query."""
        return urlsplit(self.headers["location"]).path.removeprefix(STAGE)

    def field(self, name: str) -> str:
        """The value of a hidden field."""
        match = re.search(rf'name="{name}" value="([^"]*)"', self.body)
        assert match is not None, f"no field {name}"
        return match[1]


class Browser:
    """One person's browser: cookies, and the authorizer asked before each page that wants it."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.cookie = ""

    def get(self, path: str, **query: str) -> Answer:
        """A page."""
        return self._send("GET", path, query)

    def post(self, path: str, fields: Mapping[str, Any] | None = None, *, csrf: str | None = None) -> Answer:
        """A form, with the token of a page just loaded unless another is given."""
        token = csrf if csrf is not None else self.csrf()
        body = urlencode({"csrf": token, **(fields or {})}, doseq=True)
        return self._send("POST", path, {}, body)

    def csrf(self) -> str:
        """The token on one's own pages."""
        return self.get("/devices").field("csrf") if self.cookie else ""

    def sign_in(self, email: str) -> "Browser":
        """By mail."""
        self.post("/sign-in", {"email": email, "next": "/requests"})
        link = self._world.mailbox.link(email)
        page = self.get(link)
        assert self.post("/link", {"t": page.field("t")}).status == 303
        return self

    def raw(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        """Anything at all."""
        return self._send(method, path, {}, body, headers)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        split = urlsplit(path)
        event = rest_event(method, split.path, split.query or urlencode(query), body, headers or {}, self.cookie)
        answer = self._world.through_gateway(event)
        if "set-cookie" in answer.headers:
            value = answer.headers["set-cookie"].partition(";")[0]
            self.cookie = value if value.partition("=")[2] else ""
        return answer


def rest_event(
    method: str,
    path: str,
    query: str = "",
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    cookie: str = "",
) -> dict[str, Any]:
    """A REST proxy event."""
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    from urllib.parse import unquote_plus

    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    sent = {"Host": HOST, **(headers or {})}
    if cookie:
        sent["Cookie"] = cookie
    if method == "POST" and "Content-Type" not in sent and "content-type" not in sent:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    resource, parameters = _resource(path)
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": {name: values[-1] for name, values in many.items()} or None,
        "multiValueQueryStringParameters": many or None,
        "pathParameters": parameters,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "path": STAGE + path,
            "stage": "prod",
            "domainName": HOST,
            "requestId": "request-1",
            "identity": {"sourceIp": "192.0.2.1"},
        },
        # As API Gateway does, whose BinaryMediaTypes are all there are.
        "body": base64.b64encode(body.encode()).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


def _resource(path: str) -> tuple[str, dict[str, str] | None]:
    if path in ("/", "/sign-in", "/link"):
        return path, None
    if path.startswith("/static/"):
        return "/static/{proxy+}", {"proxy": path.removeprefix("/static/")}
    return "/{proxy+}", {"proxy": path.removeprefix("/")}


def _empty(endpoint: str, s3: Any, dynamodb: Any) -> None:
    """Remove what the last world left: all of moto at once; of another server, what is ours."""
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()  # noqa: S310
    if "CONTRACT_DYNAMODB" in os.environ:
        for table in {LEDGER, TABLE} & set(dynamodb.list_tables()["TableNames"]):
            dynamodb.delete_table(TableName=table)
    if "CONTRACT_S3" in os.environ and any(one["Name"] == BUCKET for one in s3.list_buckets()["Buckets"]):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                s3.delete_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])


@cache
def _client(endpoint: str, service: str) -> Any:
    """Clients are safe to share, and slow to make."""
    return boto3.client(service, endpoint_url=endpoint, config=Config(user_agent=USER_AGENT), **KEYS)  # type: ignore[call-overload]


class World:
    """One deployment: tables, bucket, people and a clock. Tables and bucket are emptied for each world."""

    def __init__(self, endpoint: str, **settings: Any) -> None:
        self.endpoint = endpoint
        self.clock = Clock()
        self.mailbox = Mailbox()
        self.watch = Watch()
        self.control, self.audiences = Lambda(), Lambda()
        self.functions = Functions({"control": self.control, "audiences": self.audiences})
        self._reset()
        self.settings = Settings(
            bucket=BUCKET,
            ledger_table=LEDGER,
            approval_table=TABLE,
            control_function="control",
            audience_function="audiences",
            signing_secret_arn="secret",
            mail_from="push@example.com",
            **{
                "requesters": (ANN, "@marketing.example.com"),
                "approvers": (BOB, CAT, ANN),
                "limits": Limits(two_approvers_above=1000),
                **settings,
            },
        )
        self.context: Any = None
        """Lambda's, which says how long a call still has."""
        self.constant_time = ConstantTime(self.watch, self.watch.sleep)
        self.app = App(
            self.settings,
            self.client,
            self.clock,
            key=b"k" * 32,
            send_mail=self.mailbox.send,
            constant_time=self.constant_time,
        )

    def client(self, service: str) -> Any:
        """A boto3 client; Lambda is our own."""
        if service == "lambda":
            return self.functions
        return _client(os.environ.get(FOREIGN.get(service, ""), self.endpoint), service)

    def _reset(self) -> None:
        s3, dynamodb = self.client("s3"), self.client("dynamodb")
        _empty(self.endpoint, s3, dynamodb)
        with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        for table in (LEDGER, TABLE):
            dynamodb.create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            )

    # -- as API Gateway -----------------------------------------------------------------------------------------------

    def through_gateway(self, event: dict[str, Any]) -> Answer:
        """The authorizer, then the function; 401 where the authorizer says so."""
        if event["resource"] in ("/", "/{proxy+}"):
            try:
                allowed = self.app.authorize({**event, "methodArn": "arn:aws:execute-api:eu-west-1:1:api/prod/GET/x"})
            except Exception as error:  # noqa: BLE001 - as API Gateway does
                return Answer(401 if str(error) == "Unauthorized" else 500, {}, "sign in")
            event["requestContext"]["authorizer"] = {"principalId": allowed["principalId"], **allowed["context"]}
        return self.straight(event)

    def straight(self, event: dict[str, Any]) -> Answer:
        """The function alone."""
        answer = self.app.answer(event, self.context)
        headers = {name.lower(): values[-1] for name, values in answer.get("multiValueHeaders", {}).items()}
        body = answer.get("body") or ""
        if answer.get("isBase64Encoded"):
            sent = base64.b64decode(body)
            body = (gzip.decompress(sent) if headers.get("content-encoding") == "gzip" else sent).decode()
        return Answer(answer["statusCode"], headers, body)

    def browser(self, email: str | None = None) -> Browser:
        """A browser, signed in if an address is given."""
        browser = Browser(self)
        return browser.sign_in(email) if email else browser

    # -- what others do -----------------------------------------------------------------------------------------------

    def put_audience(
        self, name: str = "tinie.json", body: bytes = b'[{"user_id":"u1","platform":"web","token":"t1"}]'
    ) -> str:
        """An audience file."""
        key = f"audiences/{name}"
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        return key

    def finish_counts(self, **figures: Any) -> None:
        """What the audience function would write, for every order.

        Args:
            figures: members of the counts, but `platforms` (devices of each) and `attributes` (users who have each).
        """
        counts = counts_of(**figures)
        for event in [one for one in self.audiences.events if "prepare" in one]:
            key = {"pk": {"S": f"run#{event['prepare']}"}, "sk": {"S": "preparation"}}
            item = self.client("dynamodb").get_item(TableName=LEDGER, Key=key)["Item"]
            manifest = self._prepared(msgspec.json.decode(item["request"]["S"]), counts)
            item |= {"state": {"S": "prepared"}, "manifest": {"S": manifest}}
            self.client("dynamodb").put_item(TableName=LEDGER, Item=item)

    def fail_counts(self, reason: str) -> None:
        """The audience function says that no audience can be made of what was chosen."""
        for event in [one for one in self.audiences.events if "prepare" in one]:
            key = {"pk": {"S": f"run#{event['prepare']}"}, "sk": {"S": "preparation"}}
            item = self.client("dynamodb").get_item(TableName=LEDGER, Key=key)["Item"]
            item |= {"state": {"S": "failed"}, "reason": {"S": reason}}
            self.client("dynamodb").put_item(TableName=LEDGER, Item=item)

    def _prepared(self, request: dict[str, Any], counts: Counts) -> str:
        """A prepared audience of one part; its manifest's key."""
        s3 = self.client("s3")
        names = request.get("files") or [part["key"] for part in request.get("parts", ())]
        inputs = [
            {
                "bucket": BUCKET,
                "key": name,
                "etag": s3.head_object(Bucket=BUCKET, Key=name)["ETag"].strip('"'),
                "rows": 1,
            }
            for name in names
        ]
        id_ = sha256(msgspec.json.encode([request, inputs, counts])).hexdigest()[:20]
        folder = f"audiences/prepared/{id_}/"
        put = s3.put_object(Bucket=BUCKET, Key=f"{folder}attempt=1/part-00000.jsonl", Body=b"{}")
        part = {
            "bucket": BUCKET,
            "key": f"{folder}attempt=1/part-00000.jsonl",
            "etag": put["ETag"].strip('"'),
            "bytes": 2,
        }
        manifest = {
            "version": 1,
            "id": id_,
            "request": request,
            "inputs": inputs,
            "parts": [part | {"version_id": put["VersionId"]}],
            "counts": counts,
            "queries": {"queries/follows.sql": SQL} if "query" in str(request) else {},
        }
        s3.put_object(Bucket=BUCKET, Key=f"{folder}_manifest.json", Body=msgspec.json.encode(manifest))
        return f"{folder}_manifest.json"

    def put_query(self, name: str = "follows", **about: Any) -> None:
        """A stored query."""
        body = msgspec.json.encode({"parameters": {"brands": {"type": "texts"}}, "show": ["country"], **about})
        self.client("s3").put_object(Bucket=BUCKET, Key=f"queries/{name}.json", Body=body)

    def lane(self, run_id: str, number: int = 0, **attributes: Any) -> None:
        """A lane item, as the notifier's ledger writes it."""
        key = {"pk": {"S": f"run#{run_id}"}, "sk": {"S": f"lane#{number:04d}"}}
        item: dict[str, Any] = {**key, "state": {"S": "running"}}
        for name, value in attributes.items():
            item[name] = {"N": str(value)} if isinstance(value, int) else {"S": value}
        self.client("dynamodb").put_item(TableName=LEDGER, Item=item)

    def keys(self, prefix: str) -> list[str]:
        """The keys under a prefix."""
        found = self.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
        return [item["Key"] for item in found]

    def batch_files(self) -> list[str]:
        """The keys of the batch files that are not tests."""
        return [key for key in self.keys("batches/") if not key.startswith("batches/test/")]

    def items(self) -> list[Any]:
        """Everything in both tables but links, sessions and limits."""
        kept = [
            item
            for table in (LEDGER, TABLE)
            for item in self.client("dynamodb").scan(TableName=table)["Items"]
            if not item["pk"]["S"].startswith(("link#", "session#", "limit#"))
        ]
        return sorted(kept, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')


SQL = "SELECT user_id, platform, token FROM follows WHERE brand = ANY($brands) AND note <> '<b>'"
FORM = {
    "name": "tinie-1",
    "title": "Hi {{ first_name | default: 'there' }}",
    "body": "Tinie is live",
    "control_percent": "10",
    "timezone": "Europe/London",
}


def counts_of(
    platforms: Mapping[str, int] | None = None, attributes: Mapping[str, int] | None = None, **figures: Any
) -> Counts:
    """The counts of an audience of 500 users, with changes.

    Args:
        platforms: devices of each.
        attributes: users who have each.
    """
    users = figures.get("users", 500)
    having = attributes if attributes is not None else {"first_name": users - 20}
    gateways = {"ios": "apns"}
    devices = {name: {gateways.get(name, "fcm"): n} for name, n in (platforms or {"ios": 350, "android": 250}).items()}
    sample = {"user_id": "u1", "attributes": {"first_name": "Ann<b>"}, "platform": "ios", "token": "abcd…"}
    return Counts(
        **{
            "users": users,
            "devices": devices,
            "timezones": {"Europe/London": 400, "Asia/Tokyo": 50},
            "attributes": {name: AttributeCounts(users - n) for name, n in having.items()},
            "samples": (sample,),
            **figures,
        }
    )


def count(browser: Browser, world: World, id_: str, fields: Mapping[str, Any], **figures: Any) -> None:
    """Press the button of the form that has the audience counted, and wait for the figures."""
    version = browser.get(f"/requests/{id_}").field("version")
    answer = browser.post(f"/requests/{id_}", {"version": version, **fields, "do": "count"})
    assert answer.status == 303, answer.body
    world.finish_counts(**figures)


def new_request(ann: Browser, world: World, *, form: Mapping[str, Any] = FORM, **figures: Any) -> str:
    """A request in review; its id."""
    key = world.put_audience()
    id_ = ann.post("/requests").location.rpartition("/")[2]
    fields = {**form, "audience": key, "version": "0"}
    count(ann, world, id_, fields, **figures)
    answer = ann.post(f"/requests/{id_}", {**fields, "do": "submit"})
    assert answer.status == 303, answer.body
    return id_


def decision(browser: Browser, id_: str) -> dict[str, str]:
    """What the approve button sends, also of texts that were not looked at."""
    page = browser.get(f"/requests/{id_}")
    names = [name for name in ("content_hash", "text", "unseen") if f'name="{name}" value="' in page.body]
    return {name: page.field(name) for name in names}


def read_mail(raw: bytes) -> Any:
    """A raw mail."""
    return message_from_bytes(raw, policy=default)


__all__ = ["ANN", "BOB", "CAT", "COOKIE", "EVE", "Callable", "World", "moto_server"]
