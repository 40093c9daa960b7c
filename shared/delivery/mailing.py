"""What a mail says: small, in both languages, with the link and no figure of anybody's."""

from __future__ import annotations

import html
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from shared.delivery.targets import ENCODED
from shared.ids import digest_of

_SUBJECT_MAX = 120


def message(
    sender: str, to: str, id_: str, at: datetime, subject: str, lines: list[tuple[str, str]], link: str
) -> EmailMessage:
    """A mail of `lines` (in English, in Chinese) and a link. The same delivery always makes the same mail.

    Addresses are taken as `parse_mailbox` gave them; a subject is cut to one line whatever it holds, and holds nothing
    that its header would decode: that could say other headers. Without a link there is none.
    """
    found = EmailMessage(policy=SMTP)
    found["From"], found["To"] = Address(addr_spec=sender), Address(addr_spec=to)
    line = " ".join("".join(one if one.isprintable() else " " for one in subject).split())
    found["Subject"] = line[:_SUBJECT_MAX].replace(ENCODED, "= ?")
    found["Date"] = at
    # By the delivery and not by the attempt: a mail that comes again is known as the one that came.
    found["Message-ID"] = f"<{id_}@{sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"
    texts = [english for english, _ in lines] + [chinese for _, chinese in lines]
    found.set_content("\n\n".join([*texts, *([link] if link else [])]) + "\n", cte="base64")
    said = "".join(f"<p>{html.escape(one)}</p>" for one in texts)
    address = html.escape(link, quote=True)
    leads = f'<p><a href="{address}">{address}</a></p>' if link else ""
    found.add_alternative(f"{said}{leads}\n", subtype="html", cte="base64")
    found.set_boundary(f"clearbook-{digest_of([id_])[:24]}")
    return found
