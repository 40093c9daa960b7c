"""Mail by SMTP, encrypted: by TLS from the start (smtps://) or by STARTTLS before anything is said (smtp://).

Only a server on this machine is spoken to in the clear.
"""

from __future__ import annotations

import ipaddress
import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import urlsplit

from shared.delivery.targets import parse_mailbox
from shared.errors import BadInputError, SettingError
from shared.ports import UndeliveredError

_TIMEOUT_S = 15.0
_PORTS = {"smtp": 587, "smtps": 465}


class SmtpMailer:
    """A mail server; `login` is a user's name and password. `trusted` is for tests, whose server has its own root."""

    def __init__(
        self, server: str, sender: str, login: tuple[str, str] | None = None, trusted: ssl.SSLContext | None = None
    ) -> None:
        self._scheme, self._host, self._port = _server(server)
        self._login, self._trusted = login, trusted
        try:
            self._sender = parse_mailbox(sender)
        except BadInputError as exc:
            raise SettingError("CLEARBOOK_MAIL_FROM", exc.problem, exc.remedy) from exc

    @property
    def sender(self) -> str:
        """The address that messages are from."""
        return self._sender

    def send(self, message: EmailMessage) -> None:
        """Hand a message over; raises UndeliveredError, final where the server refuses the message for good."""
        try:
            with self._connected() as server:
                if self._login is not None:
                    server.login(*self._login)
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as exc:
            code = max((code for code, _ in exc.recipients.values()), default=0)
            raise UndeliveredError(f"the mail server refused the address ({code})", is_final=code >= 500) from exc
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as exc:
            # Ours to mend, and then it goes: not final.
            raise UndeliveredError("the mail server refused our login, or offers no encryption") from exc
        except smtplib.SMTPResponseException as exc:
            is_final = isinstance(exc, smtplib.SMTPDataError) and exc.smtp_code >= 500
            raise UndeliveredError(f"the mail server answered {exc.smtp_code}", is_final=is_final) from exc
        except (smtplib.SMTPException, OSError) as exc:
            raise UndeliveredError("the mail server was not reached, or broke off") from exc

    def _connected(self) -> smtplib.SMTP:
        context = self._trusted or ssl.create_default_context()
        if self._scheme == "smtps":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=_TIMEOUT_S, context=context)
        server = smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            server.ehlo()
            if server.has_extn("starttls") or not _is_here(self._host):
                server.starttls(context=context)  # raises where the server has none
                server.ehlo()
        except BaseException:
            server.close()
            raise
        return server


def _server(text: str) -> tuple[str, str, int]:
    remedy = "write smtps://HOST:465, or smtp://HOST:587 for STARTTLS; name and password are in CLEARBOOK_SMTP_SECRET"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise SettingError("CLEARBOOK_SMTP", "is no address", remedy) from exc
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise SettingError("CLEARBOOK_SMTP", "is no mail server", remedy)
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
