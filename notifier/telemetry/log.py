"""Structured log lines. Their names come from one enum; no line holds a token or a secret."""

from typing import Any

from aws_lambda_powertools import Logger

from notifier.model.log import Action


class JsonLog:
    """JSON lines with the run as correlation id.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
    """

    def __init__(self, level: str = "INFO") -> None:
        self._level = level
        self._logger = Logger(service="notifier", level=level)
        self._logger.remove_keys(["location"])

    def run(self, run_id: str) -> None:
        """Every line from now on belongs to this run."""
        # A warm environment serves run after run: the request of the former one must not stay on the lines.
        self._logger.remove_keys(["request"])
        self._logger.set_correlation_id(run_id)

    def request(self, request_id: str) -> None:
        """Every line of this run from now on also names the approval app's request that it came from."""
        self._logger.append_keys(request=request_id)

    def debug(self, action: Action, **fields: Any) -> None:
        """Detail for a developer who looks for a fault in the notifier itself."""
        self._logger.debug(action.value, extra=fields)

    @property
    def is_debug(self) -> bool:
        """Whether lines at DEBUG are written; what only they need is not gathered otherwise."""
        return self._level == "DEBUG"

    def info(self, action: Action, **fields: Any) -> None:
        """Something that should happen."""
        self._logger.info(action.value, extra=fields)

    def warning(self, action: Action, **fields: Any) -> None:
        """Something that should not happen, and was handled."""
        self._logger.warning(action.value, extra=fields)

    def error(self, action: Action, **fields: Any) -> None:
        """Something that a person must look at."""
        self._logger.error(action.value, extra=fields)
