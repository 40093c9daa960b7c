"""The base of every error that Clearbook raises on purpose."""

from __future__ import annotations


class ClearbookError(Exception):
    """Something a caller may handle; the message names the place, the value, what was expected and what to do.

    `code` is stable and machine-readable. `retryable` says whether the same call may succeed later unchanged.
    """

    code = "clearbook_error"
    retryable = False


class BadInputError(ClearbookError):
    """What came from outside cannot be used as it is: `place` names where, the message says what to change."""

    code = "bad_input"

    def __init__(self, place: str, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem}; {remedy}")
        self.place, self.problem, self.remedy = place, problem, remedy


class SettingError(ClearbookError):
    """A setting is missing or unusable."""

    code = "bad_setting"

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        super().__init__(f"setting {name} {problem}; {remedy}")
        self.name = name


class DocumentRefusedError(ClearbookError):
    """A document cannot be used; `findings` are (place, what is wrong and what to do)."""

    code = "document_refused"

    def __init__(self, name: str, findings: list[tuple[str, str]]) -> None:
        lines = "\n".join(f"  {place}: {problem}" for place, problem in findings)
        super().__init__(f"{name} cannot be used, nothing was changed:\n{lines}")
        self.name, self.findings = name, findings
