"""Structured logs by Powertools, with the request id of Function Compute's context in every line."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from shared.cloud.uncollected import uncollected


class _Log:
    """Powertools' logger, its fields kept apart from the names that logging itself uses."""

    def __init__(self) -> None:
        with uncollected():
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

    def alert(self, **fields: str) -> None:
        """A line that people are called for: stable fields, no amounts (DESIGN, what people are told)."""
        self._logger.warning("alert", alert=fields)

    def metric(self, name: str, value: float, unit: str, dimensions: Mapping[str, str]) -> None:
        """A line that the log service turns into a figure: one value a line, zeros too."""
        self._logger.info("metric", metric={"name": name, "value": value, "unit": unit, "dimensions": dict(dimensions)})


@functools.cache
def _log() -> _Log:
    return _Log()


def step_log(context: object) -> _Log:
    """The log of one event. Powertools' own context decorator expects Lambda's attributes, so the id is set by hand."""
    return _log().of_request(str(getattr(context, "request_id", "")))
