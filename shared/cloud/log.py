"""Structured logs by Powertools, with the request id of Function Compute's context in every line."""

from __future__ import annotations

import functools
from typing import Any


class _Log:
    """Powertools' logger, its fields kept apart from the names that logging itself uses."""

    def __init__(self) -> None:
        from aws_lambda_powertools import Logger

        self._logger = Logger(service="clearbook", level="INFO")

    def of_request(self, request_id: str) -> _Log:
        self._logger.append_keys(request_id=request_id)
        return self

    def info(self, message: str, **fields: Any) -> None:
        """A line of what was done: ids and counts, never whole bills or credentials."""
        self._logger.info(message, outcome=fields)

    def error(self, message: str, **fields: Any) -> None:
        """A line of what went wrong."""
        self._logger.error(message, problem=fields)


@functools.cache
def _log() -> _Log:
    return _Log()


def step_log(context: object) -> _Log:
    """The log of one event. Powertools' own context decorator expects Lambda's attributes, so the id is set by hand."""
    return _log().of_request(str(getattr(context, "request_id", "")))
