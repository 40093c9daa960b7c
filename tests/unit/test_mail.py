"""Mails: handed to a real server, encrypted unless it is this machine's, the same each time, and of one line each."""

from __future__ import annotations

import email
import smtplib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from shared.cloud.mail import SmtpMailer
from shared.delivery.mailing import message
from shared.errors import SettingError
from shared.ports import UndeliveredError

AT = datetime(2025, 7, 4, 4, 0, tzinfo=UTC)
FROM, TO = "reports@clearbook.example", "ann@aurora.example"
LINES = [("The report “Costs” is ready.", "报表“成本”已生成。")]
LINK = "https://portal.example/runs/1?a=1&b=2"


class Inbox:
    """What the server took; it refuses where it is told to."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.refuses: dict[str, str] = {}

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.taken.append(envelope.content)
        return "250 OK"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def server(inbox: Inbox) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:  # the library must know its port beforehand
        port = free.getsockname()[1]
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield f"smtp://127.0.0.1:{port}"
    controller.stop()


def mail(subject: str = "Costs: 2025-07-04", to: str = TO) -> Any:
    return message(FROM, to, "msg_1", AT, subject, LINES, LINK)


def test_a_server_takes_a_mail_that_says_the_same_as_text_and_as_page(server: str, inbox: Inbox) -> None:
    SmtpMailer(server, FROM).send(mail())

    [taken] = inbox.taken
    found = email.message_from_bytes(taken, policy=default)
    assert (found["From"], found["To"], found["Subject"]) == (FROM, TO, "Costs: 2025-07-04")
    assert found["Message-ID"] == "<msg_1@clearbook.example>"
    text, page = found.get_body(("plain",)), found.get_body(("html",))
    assert text is not None
    assert page is not None
    assert text.get_content().split() == [*" ".join(LINES[0]).split(), LINK]
    assert '<a href="https://portal.example/runs/1?a=1&amp;b=2">' in page.get_content()


def test_the_same_delivery_is_the_same_mail_to_the_byte() -> None:
    assert mail().as_bytes() == mail().as_bytes()


def test_a_subject_stays_one_line_and_a_page_shows_what_was_written(server: str, inbox: Inbox) -> None:
    found = message(FROM, TO, "msg_1", AT, "a\r\nBcc: eve@evil.example\x00 报表" + "x" * 500, [("<b>", "&")], LINK)
    SmtpMailer(server, FROM).send(found)
    taken = email.message_from_bytes(inbox.taken[0], policy=default)

    assert taken["Bcc"] is None
    assert len(inbox.taken) == 1
    assert str(taken["Subject"]).startswith("a Bcc: eve@evil.example 报表x")
    page = taken.get_body(("html",))
    assert page is not None
    assert "<p>&lt;b&gt;</p><p>&amp;</p>" in page.get_content()


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q?Costs=0D=0AReply-To:_eve@evil.example?=",
        "=?utf-8?q?Costs=0D=0A=0D=0AThe_body?=",
        "=?utf-8?b?Q29zdHMNClJlcGx5LVRvOiBldmVAZXZpbC5leGFtcGxl?=",
        "x" * 119 + "=?utf-8?q?=0D=0AReply-To:_eve@evil.example?=",
        "==??utf-8?q?=0D=0AReply-To:_eve@evil.example?=",
    ],
)
def test_what_a_header_would_decode_is_said_as_it_is_written(server: str, inbox: Inbox, subject: str) -> None:
    SmtpMailer(server, FROM).send(mail(subject))
    [taken] = inbox.taken
    found = email.message_from_bytes(taken, policy=default)

    assert str(found["Subject"]) == subject[:120].replace("=?", "= ?")
    assert found["Reply-To"] is None
    assert sorted(found.keys()) == sorted(mail().keys())


def test_a_mail_without_a_link_has_none() -> None:
    found = message(FROM, TO, "msg_1", AT, "Costs failed", LINES, "")
    text, page = found.get_body(("plain",)), found.get_body(("html",))

    assert text is not None
    assert page is not None
    assert text.get_content().strip().endswith(LINES[0][1])
    assert "<a" not in page.get_content()


def test_an_address_that_is_refused_for_good_is_not_tried_again_and_one_for_now_is(server: str, inbox: Inbox) -> None:
    inbox.refuses = {TO: "550 no such mailbox", "later@aurora.example": "451 greylisted"}
    found = {}
    for to in inbox.refuses:
        with pytest.raises(UndeliveredError) as caught:
            SmtpMailer(server, FROM).send(mail(to=to))
        found[to] = caught.value.is_final

    assert found == {TO: True, "later@aurora.example": False}
    assert inbox.taken == []


def test_a_server_elsewhere_without_encryption_is_told_nothing(
    server: str, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = smtplib.SMTP

    def elsewhere(host: str, port: int, timeout: float) -> smtplib.SMTP:
        assert host == "mail.example"
        return real("127.0.0.1", port, timeout=timeout)

    monkeypatch.setattr(smtplib, "SMTP", elsewhere)
    mailer = SmtpMailer(server.replace("127.0.0.1", "mail.example"), FROM, ("user", "password"))
    with pytest.raises(UndeliveredError, match="offers no encryption"):
        mailer.send(mail())

    assert inbox.taken == []


def test_a_server_that_is_not_there_may_be_later(server: str) -> None:
    with pytest.raises(UndeliveredError, match="not reached") as caught:
        SmtpMailer("smtps://127.0.0.1:1", FROM).send(mail())

    assert not caught.value.is_final


@pytest.mark.parametrize(
    ("server_", "sender"),
    [("mail.example", FROM), ("http://mail.example", FROM), ("smtp://", FROM), ("smtp://u:p@mail.example", FROM),
     ("smtp://mail.example:x", FROM), ("smtps://mail.example", "Clearbook <a@b.example>")],
)  # fmt: skip
def test_a_setting_that_names_no_server_or_sender_is_refused(server_: str, sender: str) -> None:
    with pytest.raises(SettingError):
        SmtpMailer(server_, sender)
