"""The approval pages in the sandbox: the stack with its pages on localhost, mails and phones to look at."""

import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from sandbox import scene
from sandbox.bridge import Bridge
from sandbox.outside import Outside
from sandbox.running import Running
from sandbox.trial import TEMPLATE, Setting, Trial


class Office(Running):
    """A trial whose approval pages are served. `url` is where they are; `addresses` is all there is to open."""

    def __init__(
        self,
        trial: Trial,
        bridge: Bridge,
        outside: Outside,
        addresses: list[tuple[str, str]],
        running: contextlib.ExitStack,
    ) -> None:
        self.trial = trial
        self.bridge = bridge
        self.outside = outside
        self.addresses = addresses
        self.url = bridge.url
        super().__init__(running)
        self._clock: Path | None = None

    @classmethod
    def start(cls, state_dir: Path, setting: Setting | None = None, ports: tuple[int, int] = (0, 0)) -> Self:
        """Start everything. `ports`: of the pages, and of mails and phones; 0 for a free one."""
        setting = setting or Setting()
        parameters = {**scene.parameters(), **setting.parameters}
        setting = msgspec.structs.replace(setting, parameters=parameters)
        with contextlib.ExitStack() as running:
            trial = running.enter_context(Trial.start(state_dir, setting))
            sandbox = trial.sandbox
            scene.set_up(sandbox, trial.gateways)
            pages, authorizer = sandbox.function("ApprovalFunction"), sandbox.function("AuthorizerFunction")

            def invoke(name: str, payload: bytes, trace: str) -> Any:
                return sandbox.lambda_.invoke(name, payload, trace=trace)

            bridge = Bridge(invoke, pages, authorizer, TEMPLATE, port=ports[0])
            running.callback(bridge.stop)
            addresses = [("Approval pages", f"{bridge.url}/"), ("AWS endpoint", sandbox.endpoint_url)]
            outside = Outside(sandbox.endpoint_url, trial.gateways, addresses, port=ports[1])
            running.callback(outside.stop)
            addresses += [("Mails", f"{outside.url}/mails"), ("Phones", f"{outside.url}/phones")]
            return cls(trial, bridge, outside, addresses, running.pop_all())

    def put_forward(self, **by: float) -> None:
        """Put the clock of the pages, and of nothing else, forward by `timedelta`'s arguments; none: back to now.

        The first time, their functions start again with a clock that can be moved (`sandbox.moved_clock`).
        """
        first = self._clock is None
        self._clock = self.trial.sandbox.state_dir / "clock"
        self._clock.write_text(str(timedelta(**by).total_seconds()), encoding="ascii")
        if first:
            self._deploy("ApprovalFunction", "sandbox.moved_clock.handler")
            self._deploy("AuthorizerFunction", "sandbox.moved_clock.authorizer")

    def _deploy(self, logical_id: str, handler: str) -> None:
        functions = self.trial.sandbox.lambda_.functions
        now = functions.get(self.trial.sandbox.function(logical_id).name)
        clock = str(self._clock)
        setup = msgspec.structs.replace(
            now.setup,
            handler=handler,
            variables={**now.setup.variables, "SANDBOX_CLOCK_FILE": clock},
            kept=now.setup.kept | {clock},
        )
        functions.kill_environments(setup.function)
        functions.redeploy(setup)

    def mails(self) -> list[dict[str, Any]]:
        """What was mailed, oldest first."""
        return scene.mails(self.trial.sandbox.endpoint_url)
