"""Where alerts go: a log of their own, Dagster's log, and a chat channel and mailboxes if they are set.

An `Alert` says what happened and what to do; the `Notifier` hands it over. The alert log in the data folder comes
first, so that a webhook or a mail server that fails loses nothing, and what failed is told there too. What is worth an
alert is decided in `sensors`. The addresses of webhook and mail server are secrets: whoever has them can post.
"""

import html
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Final

import dagster as dg
import httpx
import stamina
from pydantic import Field

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import AlertLostError
from mentor_pipeline.resources.http import is_temporary, printable
from mentor_pipeline.resources.mail import MailServer, NotMailedError
from mentor_pipeline.settings import ALERT_SMTP_URL, ALERT_WEBHOOK, Settings

_SHOWN_LINES: Final = 10
_LONGEST_LINE: Final = 1000
_LONGEST_SUBJECT: Final = 150
_TRIES: Final = 3
_ONE_TRY: Final = timedelta(seconds=2)
_ONE_ANSWER: Final = timedelta(seconds=4)
"""Mail servers may let a stranger wait before they greet."""
_ALL_TRIES: Final = timedelta(seconds=8)
"""A sensor has a minute for a tick, in which it may have five alerts to hand over."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should know of.

    Attributes:
        kind: what sort of thing, e.g. `run_failed`.
        title: the whole in one line.
        details: what happened, one line each.
        advice: what to do.
        run_id: the run it is about; empty where it is about none.
        url: where to look.
    """

    kind: str
    title: str
    details: Sequence[str]
    advice: str
    run_id: str
    url: str

    @property
    def text(self) -> str:
        """The alert as people read it, of bounded length."""
        return "\n".join([*self._facts, self.advice, self.url])

    @property
    def chat_text(self) -> str:
        """The alert for a chat channel.

        What may hold foreign text (a name, a file's name) is code, in which neither Slack nor Markdown sees a link, a
        picture or somebody to call.
        """
        facts = "\n".join(self._facts).replace("`", "'")
        # Escaped as Slack asks for, so that no `<!channel>` is one, in code neither.
        return html.escape(f"```\n{facts}\n```\n{self.advice}\n{self.url}", quote=False)

    @property
    def _facts(self) -> list[str]:
        """Title and details, each one printable line."""
        shown = [f"- {printable(line, longest=_LONGEST_LINE)}" for line in self.details[:_SHOWN_LINES]]
        if len(self.details) > _SHOWN_LINES:
            shown.append(f"- and {len(self.details) - _SHOWN_LINES} more")
        return [printable(self.title), *shown]


class Notifier(dg.ConfigurableResource["Notifier"]):
    """Hands alerts over to people."""

    log_file: str = Field(description="File that gets one JSON line for each alert, newest last.")
    ui_url: str = Field(description="Where Dagster's UI is.")
    webhook: str | None = Field(default=None, repr=False, description="Slack-compatible incoming webhook.")
    smtp_url: str | None = Field(default=None, repr=False, description="Mail server, with user name and password.")
    mail_from: str = Field(default="", description="Sender of the mails.")
    mail_to: list[str] = Field(default=[], description="Who gets the mails.")

    @classmethod
    def from_settings(cls, settings: Settings) -> "Notifier":
        """The notifier of an installation; it takes the secrets from the environment when it is used."""
        return cls(
            log_file=str(settings.alerts_path),
            ui_url=settings.ui_url,
            webhook=dg.EnvVar(ALERT_WEBHOOK) if settings.alert_webhook else None,
            smtp_url=dg.EnvVar(ALERT_SMTP_URL) if settings.alert_smtp_url else None,
            mail_from=settings.alert_from or "",
            mail_to=settings.alert_recipients,
        )

    def run_url(self, run_id: str) -> str:
        """The page of a run in Dagster's UI."""
        return f"{self.ui_url.rstrip('/')}/runs/{run_id}"

    def tell(self, alert: Alert, log: logging.Logger) -> None:
        """Hand one alert over.

        Args:
            alert: what to tell.
            log: Dagster's log of the sensor; it also says which way of handing over failed.

        Raises:
            AlertLostError: it could be neither written, nor posted, nor mailed.
        """
        log.warning("%s", alert.text)
        # A file's name may hold bytes that are no text; JSON takes none.
        line = {**asdict(alert), "title": _as_text(alert.title), "details": [_as_text(one) for one in alert.details]}
        told = [self._written({"at": datetime.now(UTC), **line})]
        if told[0]:
            log.error("%s", told[0])
        ways = self._ways()
        # At once, so that two that hang take no longer than one.
        with ThreadPoolExecutor(max_workers=2) as pool:
            failures = [_as_text(failure) for failure in pool.map(lambda way: way(alert), ways.values())]
        for kind, failure in zip(ways, failures, strict=True):
            if failure:
                log.error("%s", failure)
                self._written({"at": datetime.now(UTC), "kind": kind, "title": failure, "run_id": alert.run_id})
        told += failures or [f"Neither a webhook ({ALERT_WEBHOOK}) nor a mail server ({ALERT_SMTP_URL}) is set."]
        if all(told):
            msg = f"The alert {alert.title!r} reached nobody. {' '.join(told)}"
            raise AlertLostError(msg)

    def _ways(self) -> dict[str, Callable[[Alert], str]]:
        """What hands an alert over and returns what went wrong, by the kind of line that says so in the alert log."""
        webhook, smtp_url = self.webhook, self.smtp_url
        ways: dict[str, Callable[[Alert], str]] = {}
        if webhook is not None:
            ways["webhook_failed"] = lambda alert: self._posted(alert, webhook)
        if smtp_url is not None:
            ways["mail_failed"] = lambda alert: self._mailed(alert, smtp_url)
        return ways

    def _written(self, line: dict[str, object]) -> str:
        """Append to the alert log; returns what went wrong, or nothing."""
        path = Path(self.log_file)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            with path.open("a", encoding="utf-8") as file:
                file.write(to_json(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return f"The alert log {path} cannot be written: {error.strerror}. Make room, or the file writable."
        return ""

    def _posted(self, alert: Alert, webhook: str) -> str:
        """Post to the webhook; returns what went wrong, or nothing."""
        try:
            for attempt in stamina.retry_context(_worth_another_try, attempts=_TRIES, timeout=_ALL_TRIES):
                with attempt:
                    _post(webhook, alert.chat_text)
        except _NotPostedError as error:
            return f"The alert {alert.title!r} could not be posted to the webhook ({error}). Check {ALERT_WEBHOOK}."
        return ""

    def _mailed(self, alert: Alert, smtp_url: str) -> str:
        """Mail it; returns what went wrong, or nothing."""
        try:
            server, message = MailServer.at(smtp_url), self._mail(alert)
            for attempt in stamina.retry_context(_worth_another_try, attempts=_TRIES, timeout=_ALL_TRIES):
                with attempt:
                    server.send(message, timeout_s=_ONE_ANSWER.total_seconds())
        except NotMailedError as error:
            return f"The alert {alert.title!r} could not be mailed ({error}). Check {ALERT_SMTP_URL}."
        return ""

    def _mail(self, alert: Alert) -> EmailMessage:
        """The alert as a plain text mail; a title with line breaks or odd characters makes no header of its own."""
        message = EmailMessage()
        message["From"] = self.mail_from
        message["To"] = ", ".join(self.mail_to)
        message["Subject"] = f"[mentor-pipeline] {printable(alert.title, longest=_LONGEST_SUBJECT)}"
        message["Date"] = datetime.now(UTC)
        message["Message-ID"] = make_msgid(domain=self.mail_from.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # no answers by machines that say who is on holiday
        message.set_content(alert.text)
        return message


def _as_text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


class _NotPostedError(Exception):
    """A post did not arrive. Says why without the URL, which httpx writes into its own errors."""

    def __init__(self, reason: str, *, temporary: bool) -> None:
        super().__init__(reason)
        self.temporary = temporary


def _worth_another_try(error: Exception) -> bool:
    return isinstance(error, _NotPostedError | NotMailedError) and error.temporary


def _post(webhook: str, text: str) -> None:
    # At INFO httpx logs the URL of every request.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        status = httpx.post(webhook, json={"text": text}, timeout=_ONE_TRY.total_seconds()).status_code
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise _NotPostedError("it is no web address", temporary=False) from None
    except httpx.TransportError as error:
        reason = f"no answer: {type(error).__name__}"
        raise _NotPostedError(reason, temporary=True) from None
    if not httpx.codes.is_success(status):
        reason = f"it answered {status}"
        raise _NotPostedError(reason, temporary=is_temporary(status))
