"""Bills as files of other forms than the classic subscription's: the new bill, console exports, and partners' bills.

All are written from the same bill that the calls answer from, and their sums are the calls' sums.
"""

from infra.localcloud.bss.exports.console import write_console, write_console_consumption
from infra.localcloud.bss.exports.consumption import write_consumption
from infra.localcloud.bss.exports.partner import write_partner

__all__ = ["write_console", "write_console_consumption", "write_consumption", "write_partner"]
