"""Reads a template's functions: what they run with, how their events are retried, what invokes them."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from sandbox import intrinsics
from sandbox.blueprint import Function, Retries, Route
from sandbox.intrinsics import TemplateError, as_text
from sandbox.references import References

FUNCTION_TYPES: Final = ("AWS::Serverless::Function", "AWS::Lambda::Function")
_API_EVENTS: Final = ("Api", "HttpApi")


class FunctionReader:
    """Reads functions. `defaults` is the template's `Globals.Function`, which SAM applies to each of them."""

    def __init__(self, references: References, defaults: Mapping[str, Any]) -> None:
        self._references = references
        self._globals = defaults

    def _property(self, logical_id: str, name: str, default: Any = None) -> Any:
        """A property of the function, else of Globals."""
        if name in self._globals and name not in self._references.unresolved(logical_id):
            value = self._references.resolver.resolve(self._globals[name], f"Globals.Function.{name}")
            return default if value is intrinsics.NO_VALUE else value
        return self._references.property_of(logical_id, name, default)

    def read(self, logical_id: str) -> Function:
        """One function. Raises TemplateError."""
        get = partial(self._property, logical_id)
        handler = get("Handler")
        if handler is None:
            raise TemplateError(f"{logical_id}.Handler: missing")
        concurrency = get("ReservedConcurrentExecutions")
        tracing = get("Tracing") or (get("TracingConfig") or {}).get("Mode")
        code = get("CodeUri", ".")
        # The defaults are Lambda's own.
        return Function(
            logical_id=logical_id,
            name=self._references.physical_name(logical_id),
            arn=self._references.attribute(logical_id, "Arn"),
            handler=as_text(handler),
            code=code if isinstance(code, str) else ".",
            timeout_s=int(get("Timeout", 3)),
            memory_mb=int(get("MemorySize", 128)),
            ephemeral_storage_mb=int((get("EphemeralStorage") or {}).get("Size", 512)),
            environment=self._environment(logical_id),
            alias=as_text(get("AutoPublishAlias", "")),
            loop_allowed=get("RecursiveLoop") == "Allow",
            traced=tracing == "Active",
            concurrency=None if concurrency is None else int(concurrency),
            retries=self._retries(logical_id),
            routes=tuple(self._routes(logical_id)),
        )

    def _environment(self, logical_id: str) -> tuple[tuple[str, str], ...]:
        variables: dict[str, str] = {}
        own = self._references.unresolved(logical_id).get("Environment") or {}
        for where, node in (("Globals.Function", self._globals.get("Environment") or {}), (logical_id, own)):
            resolved = self._references.resolver.resolve(node, f"{where}.Environment")
            variables |= {name: as_text(value) for name, value in (resolved.get("Variables") or {}).items()}
        return tuple(variables.items())

    def _retries(self, logical_id: str) -> Retries:
        config = self._property(logical_id, "EventInvokeConfig") or {}
        dead_letter = (
            self._property(logical_id, "DeadLetterQueue") or self._property(logical_id, "DeadLetterConfig") or {}
        )
        on_failure = ((config.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination", "")
        for arn, name in ((on_failure, "EventInvokeConfig"), (dead_letter.get("TargetArn", ""), "DeadLetterQueue")):
            if arn and ":sqs:" not in arn:
                raise TemplateError(f"{logical_id}.{name}: the sandbox delivers failures to SQS only, not to {arn}")
        return Retries(
            attempts=int(config.get("MaximumRetryAttempts", 2)),
            max_age_s=int(config.get("MaximumEventAgeInSeconds", 21_600)),
            on_failure_arn=on_failure,
            dead_letter_arn=dead_letter.get("TargetArn", ""),
        )

    def events(self, logical_id: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The function's events by name, resolved, with their type; those of an API are routes."""
        for name, event in (self._references.unresolved(logical_id).get("Events") or {}).items():
            if event.get("Type") in _API_EVENTS:
                continue
            properties = self._references.resolver.resolve(event.get("Properties") or {}, f"{logical_id}.Events.{name}")
            yield name, {"Type": event.get("Type"), **properties}

    def _routes(self, logical_id: str) -> Iterator[Route]:
        for name, event in (self._references.unresolved(logical_id).get("Events") or {}).items():
            if event.get("Type") in _API_EVENTS:
                node = {key: value for key, value in (event.get("Properties") or {}).items() if key != "ApiId"}
                properties = self._references.resolver.resolve(node, f"{logical_id}.Events.{name}")
                auth = properties.get("Auth") or {}
                yield Route(
                    method=str(properties.get("Method", "ANY")).upper(),
                    path=str(properties.get("Path", "$default")),
                    authorizer=str(auth.get("Authorizer", "")),
                )
