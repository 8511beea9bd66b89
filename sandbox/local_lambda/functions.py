"""The deployed functions: their versions and aliases, and the environments that each version has."""

import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from sandbox.blueprint import Retries
from sandbox.local_lambda.environment import Setup
from sandbox.local_lambda.invocation import Refusal
from sandbox.local_lambda.pool import Pool
from sandbox.local_lambda.process import Spawner

LATEST: Final = "$LATEST"


class Deployed(msgspec.Struct):
    """A function as it is deployed: its setup, how its events are retried, its versions, alias and queue limit.

    `aliases` lead to versions; `pools` and `published_at` are by version.
    """

    setup: Setup
    retries: Retries = Retries()
    alias: str = ""
    loop_allowed: bool = False
    traced: bool = False
    concurrency: int | None = None
    aliases: dict[str, str] = {}
    pools: dict[str, Pool] = {}
    published_at: dict[str, float] = {}


class Functions:
    """Deploys functions and finds them. `folder` holds their environments, `logs` a log for each function."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder = folder
        self._logs = logs
        self._spawner = Spawner()
        self._functions: dict[str, Deployed] = {}
        self._lock = threading.Lock()

    def deploy(
        self,
        setup: Setup,
        retries: Retries = Retries(),  # noqa: B008  (frozen)
        alias: str = "",
        *,
        loop_allowed: bool = False,
        traced: bool = False,
        concurrency: int | None = None,
    ) -> str:
        """Creates or updates a function; with an alias, publishes a version and points the alias at it.

        `setup.version` is ignored. Versions published before go on as they were. Gives the version.
        """
        function = Deployed(setup, retries, alias, loop_allowed, traced, concurrency)
        with self._lock:
            known = self._functions.get(setup.function)
            if known is not None:
                function.aliases |= known.aliases
                function.pools |= known.pools
                function.published_at |= known.published_at
            replaced = function.pools.pop(LATEST, None)
            version = _publish(function) if alias else LATEST
            # As on Lambda, what was published can be invoked without the alias too, as $LATEST.
            for name in {LATEST, version}:
                function.pools[name] = self._pool(setup, name)
            self._functions[setup.function] = function
        # Outside of the lock, because closing waits for processes.
        if replaced:
            replaced.close()
        return version

    def redeploy(self, setup: Setup) -> str:
        """Deploys a function with another setup; retries, alias and limits stay. Gives the version. Raises Refusal."""
        known = self.get(setup.function)
        return self.deploy(
            setup,
            known.retries,
            known.alias,
            loop_allowed=known.loop_allowed,
            traced=known.traced,
            concurrency=known.concurrency,
        )

    def get(self, name: str) -> Deployed:
        """A deployed function. Raises Refusal."""
        try:
            return self._functions[name]
        except KeyError:
            raise Refusal(404, "ResourceNotFoundException", f"Function not found: {name}") from None

    def names(self) -> tuple[str, ...]:
        """The deployed functions."""
        return tuple(self._functions)

    def delete_version(self, name: str, version: str) -> None:
        """Deletes a published version; its number is not used again. Raises Refusal."""
        function = self.get(name)
        if version in function.aliases.values():
            raise Refusal(409, "ResourceConflictException", f"an alias points at version {version}")
        pool = function.pools.pop(version, None) if version.isdigit() else None
        if pool is None:
            raise Refusal(404, "ResourceNotFoundException", f"Function not found: {function.setup.arn}:{version}")
        pool.close()

    def kill_environments(self, name: str) -> int:
        """Kill -9 for every environment of a function; gives how many there were."""
        return sum(pool.kill() for pool in self.get(name).pools.values())

    def close(self) -> None:
        """Ends every environment. May be called twice."""
        for function in self._functions.values():
            for pool in function.pools.values():
                pool.close()

    def end_processes(self) -> None:
        """Ends whatever process is left, and the thread that started them."""
        self._spawner.stop()

    def _pool(self, setup: Setup, version: str) -> Pool:
        numbered = msgspec.structs.replace(setup, version=version)
        return Pool(numbered, self._folder, self._logs / f"{setup.function}.log", self._spawner)


def _publish(function: Deployed) -> str:
    """Gives the function's next version and points its alias at it. Numbers of deleted versions are not used again."""
    version = str(max(map(int, function.published_at), default=0) + 1)
    function.aliases[function.alias] = version
    function.published_at[version] = time.time()
    return version
