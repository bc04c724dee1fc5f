"""A real SMTP server on this machine that keeps what it is sent."""

from __future__ import annotations

import asyncio
import email.policy
import ssl
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import TYPE_CHECKING, Any, Self

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path
    from types import TracebackType

USER, PASSWORD = "mailer@example.org", "s3cret/of:the@mailer"


class _OnAnyPort(Controller):
    """A server on a port that is free."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@dataclass
class Mailbox:
    """The server.

    Attributes:
        certificate: of the server, for STARTTLS; none for a relay in plain text.
        has_tls: TLS from the first byte instead.
        wants_login: mail is taken only after a log-in.
        answers: what to say to a mail, in turn; the last one from then on.
        refused: receivers who are refused.
        refusal: what they are refused with.
        got: the mails that were taken.
        asked: how often a mail was offered.
    """

    certificate: trustme.LeafCert | None = None
    has_tls: bool = False
    wants_login: bool = False
    answers: list[str] = field(default_factory=lambda: ["250 OK"])
    refused: tuple[str, ...] = ()
    refusal: str = "550 no such box"
    got: list[EmailMessage] = field(default_factory=list)
    asked: int = 0

    def __enter__(self) -> Self:
        context = None
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.certificate.configure_cert(context)
        self._controller = _OnAnyPort(
            self,
            hostname="127.0.0.1",
            port=0,
            ssl_context=context if self.has_tls else None,
            tls_context=None if self.has_tls else context,
            auth_required=self.wants_login,
            auth_require_tls=context is not None and not self.has_tls,
            authenticator=self._known,
        )
        self._controller.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._controller.stop()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._controller.port}"

    # -- called by aiosmtpd --------------------------------------------------------------------------------------------

    def _known(self, server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        is_known = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=is_known, handled=False)  # not handled: the server is to answer

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        server: Any,
        session: Any,
        envelope: Any,
        address: str,
        options: list[str],
    ) -> str:
        if address in self.refused:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.startswith("250"):
            made = message_from_bytes(envelope.original_content, policy=email.policy.default)
            made["X-Taken-For"] = ", ".join(envelope.rcpt_tos)
            self.got.append(made)
        return answer


def trusted(folder: Path) -> tuple[trustme.LeafCert, Path]:
    """A certificate of 127.0.0.1, and the file of the authority that signed it."""
    authority = trustme.CA()
    file = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return authority.issue_cert("127.0.0.1"), file
