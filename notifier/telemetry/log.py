"""Structured log lines, each with an action of one enum. No line holds a device token or a secret."""

from typing import Any

from aws_lambda_powertools import Logger

from notifier.model.log import Action


class JsonLog:
    """Writes JSON lines with the run's id as their correlation id.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
    """

    def __init__(self, level: str = "INFO") -> None:
        self._level = level
        self._logger = Logger(service="notifier", level=level)
        self._logger.remove_keys(["location"])

    def run(self, run_id: str) -> None:
        """Put this run's id on every line from now on."""
        # A warm environment serves one run after another: the request of the run before must not stay on the lines.
        self._logger.remove_keys(["request"])
        self._logger.set_correlation_id(run_id)

    def request(self, request_id: str) -> None:
        """Put the id of the approval app's request on every further line of this run."""
        self._logger.append_keys(request=request_id)

    def debug(self, action: Action, **fields: Any) -> None:
        """Log a detail for developers who look for a fault in the notifier itself."""
        self._logger.debug(action.value, extra=fields)

    @property
    def is_debug(self) -> bool:
        """Whether lines at DEBUG are written. Callers do not collect what only those lines need otherwise."""
        return self._level == "DEBUG"

    def info(self, action: Action, **fields: Any) -> None:
        """Log something expected."""
        self._logger.info(action.value, extra=fields)

    def warning(self, action: Action, **fields: Any) -> None:
        """Log something unexpected that was handled."""
        self._logger.warning(action.value, extra=fields)

    def error(self, action: Action, **fields: Any) -> None:
        """Log something that a person must look at."""
        self._logger.error(action.value, extra=fields)
