"""The local Lambda: the two ways to invoke functions, and the retries of events."""

import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from sandbox.local_lambda.failed_event import Condition, FailedEvent
from sandbox.local_lambda.functions import LATEST, Functions
from sandbox.local_lambda.invocation import (
    ASYNCHRONOUS_LIMIT_BYTES,
    SYNCHRONOUS_LIMIT_BYTES,
    Answer,
    Delivery,
    Failure,
    Fault,
    FaultPlan,
    Invocation,
    Refusal,
    no_fault,
)
from sandbox.local_lambda.pool import Figures
from sandbox.local_lambda.trace import LOOP_LIMIT, Trace

RETRY_DELAYS_S: Final = (60.0, 120.0)  # what Lambda waits before the first and the second retry
_STOP_WITHIN_S: Final = 5.0
_POLL_S: Final = 0.05
_LINE_BYTES: Final = 4096  # more than a line of a log has on average
SendMessage = Callable[[str, str, dict[str, str]], None]
Around = Callable[[Invocation, Callable[[Invocation], Answer]], Answer]
"""What happens around one attempt: it runs what it is given, as it is or with another trace header."""


class LocalLambda:
    """Runs handlers in processes of AWS's own runtime client.

    `retry_scale` shortens the waits before retries (1 is Lambda's own); an event's age is counted as if they had been
    full. `send_message(queue_arn, body, attributes)` delivers what was given up. `faults` decides what goes wrong.
    """

    def __init__(
        self,
        state_dir: Path,
        retry_scale: float = 0.01,
        send_message: SendMessage | None = None,
        faults: FaultPlan = no_fault,
    ) -> None:
        self.logs = state_dir / "logs"
        environments = state_dir / "environments"
        for folder in (self.logs, environments):
            folder.mkdir(parents=True, exist_ok=True)
        self.functions = Functions(environments, self.logs)
        self._retry_scale = retry_scale
        self.send_message = send_message
        self.faults = faults
        self.around: Around | None = None
        self.loop_limit = LOOP_LIMIT
        self._figures: dict[str, Figures] = {}
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._in_flight = 0
        self._stopping = threading.Event()

    # ------------------------------------------------------------------ invoking

    def invoke(self, name: str, payload: bytes = b"{}", qualifier: str = "", trace: str = "") -> Answer:
        """Invokes and waits for the answer. Raises Refusal for what the Lambda API would refuse."""
        invocation, looping, fault = self._accept(name, payload, qualifier, trace, asynchronous=False)
        if looping:
            raise Refusal(
                400,
                "RecursiveInvocationException",
                "Lambda has detected your function being invoked in a recursive loop",
            )
        with self._counted():
            self._check_concurrency(name)
            return self._run(invocation, fault)

    def invoke_later(self, name: str, payload: bytes = b"{}", qualifier: str = "", trace: str = "") -> str:
        """Accepts an event; runs it, and retries it, in the background. Gives the request id. Raises Refusal."""
        invocation, looping, fault = self._accept(name, payload, qualifier, trace, asynchronous=True)
        copies = {Delivery.DROPPED: 0, Delivery.TWICE: 2}.get(fault.delivery, 1)
        for _ in range(copies):
            self._count_in_flight(1)  # here and not in the thread: a caller that waits for idleness must see it at once
            target, arguments = (self._stop_loop, (invocation,)) if looping else (self._deliver, (invocation, fault))
            threading.Thread(target=target, args=arguments, name=f"event-{name}", daemon=True).start()
        return invocation.request_id

    def _accept(
        self, name: str, payload: bytes, qualifier: str, trace: str, *, asynchronous: bool
    ) -> tuple[Invocation, bool, Fault]:
        function = self.functions.get(name)
        version = function.aliases.get(qualifier, qualifier or LATEST)
        if version not in function.pools:
            raise Refusal(404, "ResourceNotFoundException", f"Function not found: {function.setup.arn}:{qualifier}")
        _check_payload(payload, ASYNCHRONOUS_LIMIT_BYTES if asynchronous else SYNCHRONOUS_LIMIT_BYTES)
        # Lambda counts by the trace header how often a chain of invocations has come through this function.
        passed, count = Trace.of(trace, function.traced).through(function.setup.arn)
        invocation = Invocation(
            function=name,
            version=version,
            arn=f"{function.setup.arn}:{qualifier}" if qualifier else function.setup.arn,
            request_id=str(uuid.uuid4()),
            payload=payload or b"{}",
            trace=passed.header(),
            asynchronous=asynchronous,
            number=next(self._numbers),
        )
        fault = self.faults(invocation)
        if fault.delivery is Delivery.REFUSED:
            raise Refusal(500, "ServiceException", "A scenario refuses this call")
        return invocation, count > self.loop_limit and not function.loop_allowed, fault

    def _check_concurrency(self, name: str) -> None:
        function = self.functions.get(name)
        busy = sum(pool.figures().in_flight for pool in function.pools.values())
        if function.concurrency is not None and busy >= function.concurrency:
            raise Refusal(429, "TooManyRequestsException", "Rate Exceeded.")

    def _run(self, invocation: Invocation, fault: Fault) -> Answer:
        pool = self.functions.get(invocation.function).pools.get(invocation.version)
        if pool is None:
            text = {"errorMessage": f"Function not found: {invocation.arn}", "errorType": "ResourceNotFoundException"}
            return Answer(json.dumps(text).encode(), invocation.version, Failure.GONE, "ResourceNotFoundException")
        if self.around is None:
            answer = pool.run(invocation, fault)
        else:
            answer = self.around(invocation, lambda attempt: pool.run(attempt, fault))
        return Answer(answer.payload, answer.version, Failure.STOPPED) if self._stopping.is_set() else answer

    # ------------------------------------------------------------------ asynchronous events

    def _deliver(self, invocation: Invocation, fault: Fault) -> None:
        try:
            self._attempt_all(invocation, fault)
        finally:
            self._count_in_flight(-1)

    def _attempt_all(self, invocation: Invocation, fault: Fault) -> None:
        retries = self.functions.get(invocation.function).retries
        began, saved_s = time.monotonic(), 0.0
        for attempt in itertools.count(1):
            if not self._wait_for_concurrency(invocation.function):
                return
            invocation = msgspec.structs.replace(invocation, attempt=attempt)
            answer = self._run(invocation, fault if attempt == 1 else self.faults(invocation))
            if answer.failure in (Failure.NONE, Failure.STOPPED):
                return
            if attempt > retries.attempts:  # the first attempt is no retry
                self._give_up(FailedEvent(invocation, answer, Condition.RETRIES_EXHAUSTED))
                return
            delay_s = RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S)) - 1]
            # The age on Lambda, where the waits are not shortened: the time that scaling saved counts as passed.
            if time.monotonic() - began + saved_s + delay_s > retries.max_age_s:
                self._give_up(FailedEvent(invocation, answer, Condition.EVENT_AGE_EXCEEDED))
                return
            self._note(
                invocation, f"retry {attempt} in {delay_s * self._retry_scale:.2f} s ({delay_s:.0f} s on Lambda)"
            )
            self._add(invocation.function, Figures(retries=1))
            if self._stopping.wait(delay_s * self._retry_scale):
                return
            saved_s += delay_s * (1 - self._retry_scale)

    def _wait_for_concurrency(self, name: str) -> bool:
        """Waits, as Lambda's queue does, while the function is at its reserved concurrency; False when stopping."""
        while not self._stopping.is_set():
            try:
                self._check_concurrency(name)
            except Refusal:
                with self._changed:
                    self._changed.wait(_POLL_S)
            else:
                return True
        return False

    def _stop_loop(self, invocation: Invocation) -> None:
        try:
            self._add(invocation.function, Figures(loops_stopped=1))
            self._note(invocation, f"not run: recursive loop, the chain has been here {self.loop_limit} times")
            text = {"errorMessage": "Recursive invocation detected", "errorType": "RecursiveInvocationException"}
            answer = Answer(json.dumps(text).encode(), invocation.version, Failure.LOOP, "RecursiveInvocationException")
            self._give_up(FailedEvent(invocation, answer, Condition.RETRIES_EXHAUSTED))
        finally:
            self._count_in_flight(-1)

    def _give_up(self, failed: FailedEvent) -> None:
        name = failed.invocation.function
        retries = self.functions.get(name).retries
        self._add(name, Figures(given_up=1))
        self._note(failed.invocation, f"given up: {failed.condition} after attempt {failed.invocation.attempt}")
        if self.send_message is None:
            return
        if retries.on_failure_arn:
            self.send_message(retries.on_failure_arn, failed.record(), {})
        if retries.dead_letter_arn:
            self.send_message(retries.dead_letter_arn, *failed.dead_letter())

    # ------------------------------------------------------------------ looking on

    def figures(self, name: str) -> Figures:
        """What a function has done and used so far, over all versions."""
        total = self._figures.get(name, Figures())
        for pool in self.functions.get(name).pools.values():
            total = total.plus(pool.figures())
        return total

    @property
    def in_flight(self) -> int:
        """Events and synchronous calls that are not finished, events that wait for a retry included."""
        return self._in_flight

    def wait_idle(self, timeout_s: float) -> bool:
        """Waits until nothing is in flight; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight == 0, timeout_s)

    def log_lines(self, name: str, count: int = 50) -> tuple[str, ...]:
        """The last lines of a function's log."""
        log = self.logs / f"{name}.log"
        if not log.exists():
            return ()
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - count * _LINE_BYTES))
            return tuple(file.read().decode(errors="replace").splitlines()[-count:])

    def stop(self) -> None:
        """Ends every environment. Events that were not finished are lost, as in a power cut. May be called twice."""
        self._stopping.set()
        self.functions.close()
        self.wait_idle(_STOP_WITHIN_S)
        self.functions.end_processes()

    def _counted(self) -> "_Counted":
        return _Counted(self._count_in_flight)

    def _count_in_flight(self, change: int) -> None:
        with self._changed:
            self._in_flight += change
            self._changed.notify_all()

    def _add(self, name: str, figures: Figures) -> None:
        with self._changed:
            self._figures[name] = self._figures.get(name, Figures()).plus(figures)

    def _note(self, invocation: Invocation, text: str) -> None:
        with (self.logs / f"{invocation.function}.log").open("a", encoding="utf-8") as log:
            log.write(f"EVENT RequestId: {invocation.request_id} {text}\n")


class _Counted:
    """Counts a call while it runs."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(self, *_: object) -> None:
        self._count(-1)


def _check_payload(payload: bytes, limit_bytes: int) -> None:
    if len(payload) > limit_bytes:
        text = f"Request must be smaller than {limit_bytes} bytes for the InvokeFunction operation"
        raise Refusal(413, "RequestTooLargeException", text)
    try:
        json.loads(payload or b"{}")
    except ValueError:
        raise Refusal(400, "InvalidRequestContentException", "Could not parse request body into json") from None
