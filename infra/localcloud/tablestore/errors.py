"""What Tablestore answers when it refuses: HTTP status, code and text.

Source: help.aliyun.com/en/tablestore/developer-reference/error-codes, and for the texts that page shows only as
a pattern, the service's answers quoted in the tests of its published SDKs. What neither shows is marked
"from memory".
"""

from __future__ import annotations


class OtsError(Exception):
    """The service refuses the request, or one row of a batch."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message


def auth_failed(message: str) -> OtsError:
    """The caller is not who it says, or too late."""
    return OtsError(403, "OTSAuthFailed", message)


def invalid(message: str) -> OtsError:
    """A parameter breaks a rule of the service."""
    return OtsError(400, "OTSParameterInvalid", message)


def invalid_key(message: str) -> OtsError:
    """The primary key is not the table's."""
    return OtsError(400, "OTSInvalidPK", message)


def broken(detail: str) -> OtsError:
    """The PlainBuffer bytes cannot be read."""
    return invalid(f"Cell data broken, {detail}.")


def condition_failed() -> OtsError:
    """The row is not in the state the caller expects."""
    return OtsError(403, "OTSConditionCheckFail", "Condition check failed.")


def table_missing() -> OtsError:
    """No table of that name."""
    return OtsError(404, "OTSObjectNotExist", "Requested table does not exist.")


def table_exists() -> OtsError:
    """A table of that name is there already."""
    return OtsError(409, "OTSObjectAlreadyExist", "Requested table already exists.")


def index_missing() -> OtsError:
    """A table has no index of that name; the text is ours."""
    return OtsError(404, "OTSObjectNotExist", "Requested index does not exist.")


def index_read_only() -> OtsError:
    """An index is written by the service alone; the code and the text are ours, the rule is documented."""
    return OtsError(400, "OTSParameterInvalid", "An index table can only be read.")


def tables_exhausted() -> OtsError:
    """The instance holds as many tables as it may."""
    return OtsError(403, "OTSQuotaExhausted", "Number of tables exceeded the quota.")


def adjusted_too_often() -> OtsError:
    """The throughput of a table changed only just now."""
    return OtsError(403, "OTSTooFrequentReservedThroughputAdjustment", "Capacity unit adjustment is too frequent.")


def row_conflict() -> OtsError:
    """A local transaction holds the rows of this partition key value."""
    return OtsError(409, "OTSRowOperationConflict", "Data is being modified by the other request.")


def session_missing() -> OtsError:
    """No open transaction has this id; the status is from memory."""
    return OtsError(404, "OTSSessionNotExist", "Session not exist or may be timeout.")


def data_out_of_range(held: str, asked: str) -> OtsError:
    """A transaction is used for another partition key value than its own."""
    text = f"Data out of scope of transaction. Transaction PartKey:{held}. Data PartKey:{asked}"
    return OtsError(400, "OTSDataOutOfRange", text)


def data_out_of_table(held: str, asked: str) -> OtsError:
    """A transaction is used for another table than its own; the text is ours."""
    text = f"Data out of scope of transaction. Transaction Table:{held}. Data Table:{asked}"
    return OtsError(400, "OTSDataOutOfRange", text)


def transaction_too_large() -> OtsError:
    """A transaction carries more than it may; the text is ours."""
    return OtsError(400, "OTSOutOfTransactionDataSizeLimit", "The data size of the transaction exceeds the limit.")


def body_too_large() -> OtsError:
    """The HTTP body is over the limit."""
    return OtsError(413, "OTSRequestBodyTooLarge", "The size of POST data is too large.")


def method_not_allowed() -> OtsError:
    """Everything is a POST."""
    return OtsError(405, "OTSMethodNotAllowed", "Only POST method for requests is supported.")


def not_implemented(what: str) -> OtsError:
    """The service can do it, this stand-in cannot; the text is ours."""
    return OtsError(400, "OTSUnsupportOperation", f"{what} is not implemented here")


def internal() -> OtsError:
    """A fault of our own; the log has it."""
    return OtsError(500, "OTSInternalServerError", "Internal server error.")
