"""Handing one e-mail to an SMTP server: TLS from the first byte (`smtps`), STARTTLS, or a relay that has neither.

The address of the server holds a password and is a secret: it is in no message, log or repr. A password is never sent
over a connection that anybody could read, and certificates are always checked. What is mailed belongs to `notifier`.
"""

import smtplib
import socket
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from mentor_pipeline.resources.time_limit import TimeLimit

_PORTS: Final = {"smtp": 587, "smtps": 465}
_FORM: Final = "expected smtps://user:password@host:465 or smtp://user:password@host:587"
_TEMPORARY: Final = range(400, 500)


class NotMailedError(Exception):
    """A mail was not taken. Says why, without the address of the server.

    Attributes:
        temporary: True when the same mail may be taken later.
    """

    def __init__(self, reason: str, *, temporary: bool = False) -> None:
        super().__init__(reason)
        self.temporary = temporary


@dataclass(frozen=True, slots=True)
class MailServer:
    """An SMTP server, and how to log in.

    Attributes:
        host: its name.
        port: its port.
        has_tls: True where TLS comes first; else STARTTLS is used where the server offers it.
        user: user name; none where no log-in is wanted.
        password: password.
    """

    host: str
    port: int
    has_tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def at(cls, url: str) -> Self:
        """Read an address; signs that mean something in one (`@ : / #`) are written as %40 and so on in a password.

        Raises:
            NotMailedError: it is none.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if host is None or parts.scheme not in _PORTS or parts.path.strip("/") or parts.query or parts.fragment:
            msg = f"it is no address of a mail server: {_FORM}"
            raise NotMailedError(msg) from None
        if (parts.username is None) != (parts.password is None):
            msg = f"user name and password belong together: {_FORM}"
            raise NotMailedError(msg)
        user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
        if not f"{user}{password}".isascii():  # smtplib sends no other
            msg = "its user name or password has letters with accents or the like, which cannot be sent: choose another"
            raise NotMailedError(msg)
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "smtps", user, password)

    def send(self, message: EmailMessage, *, timeout_s: float, limit: TimeLimit) -> None:
        """Hand a message over.

        Args:
            message: with From and To.
            timeout_s: the longest silence that is waited for.
            limit: how long the whole may take.

        Raises:
            NotMailedError: the server did not take it, or not for everybody.
        """
        try:
            with closing(self._connected(timeout_s, limit)) as smtp:
                refused = smtp.send_message(message)
                with suppress(smtplib.SMTPException, OSError):  # it has taken the mail, whatever it says now
                    smtp.quit()
        except smtplib.SMTPAuthenticationError as error:
            msg = f"it refused user name or password ({error.smtp_code})"
            raise NotMailedError(msg, temporary=error.smtp_code in _TEMPORARY) from None
        except smtplib.SMTPRecipientsRefused as error:
            raise _refused(error.recipients) from None
        except smtplib.SMTPResponseException as error:
            msg = f"it answered {error.smtp_code}"
            raise NotMailedError(msg, temporary=error.smtp_code in _TEMPORARY) from None
        except smtplib.SMTPNotSupportedError:
            msg = "it offers no log-in, or does not take such addresses"
            raise NotMailedError(msg) from None
        except ssl.SSLCertVerificationError as error:
            msg = f"its certificate is not trusted: {error.verify_message}"
            raise NotMailedError(msg) from None
        except (smtplib.SMTPException, OSError) as error:
            msg = f"no answer: {type(error).__name__}"
            raise NotMailedError(msg, temporary=True) from None
        if refused:
            # Sent again it would come twice to those who were not refused.
            raise _refused(refused, is_for_all=False)

    def _connected(self, timeout_s: float, limit: TimeLimit) -> smtplib.SMTP:
        """A connection, logged in where a user is named."""
        # By default the own name is looked up in the DNS, which may take long.
        own_name, context = socket.gethostname(), ssl.create_default_context()
        smtp: smtplib.SMTP
        try:
            if self.has_tls:
                smtp = _WatchedTls(
                    limit, self.host, self.port, local_hostname=own_name, timeout=timeout_s, context=context
                )
            else:
                smtp = _Watched(limit, self.host, self.port, local_hostname=own_name, timeout=timeout_s)
        except UnicodeError:
            msg = "its host is no name that there can be: look for two dots in a row"
            raise NotMailedError(msg) from None
        try:
            smtp.ehlo_or_helo_if_needed()
            is_private = self.has_tls
            if not is_private and smtp.has_extn("starttls"):
                smtp.starttls(context=context)
                is_private = True
            if self.user is not None and self.password is not None:
                if not is_private:
                    msg = "it offers no encryption, so the password was not sent; use smtps://, or leave the user out"
                    raise NotMailedError(msg)
                smtp.login(self.user, self.password)
        except BaseException:
            smtp.close()
            raise
        return smtp


class _Watched(smtplib.SMTP):
    """A connection that ends with its time."""

    def __init__(self, limit: TimeLimit, *args: Any, **more: Any) -> None:
        self._limit = limit
        super().__init__(*args, **more)

    def _get_socket(self, *where: Any) -> socket.socket:
        """Where smtplib connects; TLS from the first byte comes after it."""
        self._limit.require()
        connection: socket.socket = super()._get_socket(*where)  # type: ignore[misc]
        try:
            self._limit.watch(connection)
        except TimeoutError:
            connection.close()
            raise
        return connection


class _WatchedTls(smtplib.SMTP_SSL, _Watched):
    """The same with TLS from the first byte, the greetings of which are watched too."""

    def __init__(self, limit: TimeLimit, *args: Any, **more: Any) -> None:
        self._limit = limit
        smtplib.SMTP_SSL.__init__(self, *args, **more)


def _refused(recipients: dict[str, tuple[int, bytes]], *, is_for_all: bool = True) -> NotMailedError:
    named = ", ".join(f"{address} ({code})" for address, (code, _) in recipients.items())
    is_temporary = is_for_all and all(code in _TEMPORARY for code, _ in recipients.values())
    return NotMailedError(f"it refused {named}", temporary=is_temporary)
