"""Where alerts go: a log of their own, Dagster's log, and a chat channel and mailboxes if they are set.

An `Alert` says what happened and what to do; the `Notifier` hands it over. The alert log in the data folder comes
first, so that a webhook or a mail server that fails loses nothing, and what failed is told there too. What is worth an
alert is decided in `sensors`. The addresses of webhook and mail server are secrets: whoever has them can post.
"""

import html
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import make_msgid
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import dagster as dg
from pydantic import Field

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import AlertLostError
from mentor_pipeline.resources.http import is_success, is_temporary, printable
from mentor_pipeline.resources.mail import MailServer, NotMailedError
from mentor_pipeline.resources.time_limit import TimeLimit
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
_LAST_WORDS: Final = timedelta(seconds=1)
"""For a way whose time is over to say so; the look-up of a host's name ends when it likes and is not waited for."""
_TOO_LONG: Final = f"no answer within {_ALL_TRIES.total_seconds():g} s"

_HandOver: TypeAlias = Callable[[TimeLimit], None]
"""One try to hand an alert over."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to hand alerts over, besides the alert log.

    Attributes:
        failure: the kind of line that tells in the alert log that it failed.
        done: what is done with an alert, in words.
        setting: where it is set up.
        prepared: makes an alert ready to be handed over.
    """

    failure: str
    done: str
    setting: str
    prepared: Callable[["Alert"], _HandOver]


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
        failures = _handed_over(alert, ways)
        for way, failure in zip(ways, failures, strict=True):
            if failure:
                log.error("%s", failure)
                self._written({"at": datetime.now(UTC), "kind": way.failure, "title": failure, "run_id": alert.run_id})
        told += failures or [f"Neither a webhook ({ALERT_WEBHOOK}) nor a mail server ({ALERT_SMTP_URL}) is set."]
        if all(told):
            msg = f"The alert {alert.title!r} reached nobody. {' '.join(told)}"
            raise AlertLostError(msg)

    def _ways(self) -> list[_Way]:
        webhook, smtp_url = self.webhook, self.smtp_url
        ways = []
        if webhook is not None:
            ways.append(_Way("webhook_failed", "posted to the webhook", ALERT_WEBHOOK, partial(_posting, webhook)))
        if smtp_url is not None:
            ways.append(_Way("mail_failed", "mailed", ALERT_SMTP_URL, partial(self._mailing, smtp_url)))
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

    def _mailing(self, smtp_url: str, alert: Alert) -> _HandOver:
        server, message = MailServer.at(smtp_url), self._mail(alert)
        return lambda limit: server.send(message, timeout_s=_ONE_ANSWER.total_seconds(), limit=limit)

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


def _handed_over(alert: Alert, ways: Sequence[_Way]) -> list[str]:
    """Hand an alert over in all ways; returns what went wrong with each, or nothing."""
    if not ways:
        return []
    # At once, so that two that hang take no longer than one.
    pool = ThreadPoolExecutor(max_workers=len(ways))
    trying = [pool.submit(_why_not, alert, way) for way in ways]
    wait(trying, (_ALL_TRIES + _LAST_WORDS).total_seconds())
    pool.shutdown(wait=False)
    reasons = [one.result() if one.done() else _TOO_LONG for one in trying]
    return [
        _as_text(f"The alert {alert.title!r} could not be {way.done} ({reason}). Check {way.setting}.")
        if reason
        else ""
        for way, reason in zip(ways, reasons, strict=True)
    ]


def _why_not(alert: Alert, way: _Way) -> str:
    """Hand an alert over in one way, tried again where that can help; returns why it could not be, or nothing."""
    import stamina

    with TimeLimit(_ALL_TRIES.total_seconds()) as limit:

        def is_worth_another_try(error: Exception) -> bool:
            return isinstance(error, _NotPostedError | NotMailedError) and error.temporary and not limit.is_over

        try:
            hand_over = way.prepared(alert)
            for attempt in stamina.retry_context(is_worth_another_try, attempts=_TRIES, timeout=_ALL_TRIES):
                with attempt:
                    hand_over(limit)
        except (_NotPostedError, NotMailedError) as error:
            return _TOO_LONG if limit.is_over else str(error)
        except Exception as error:  # noqa: BLE001 - raised, it would keep the alert from the other way, and come again
            # Without its words, which may hold the address.
            return f"unexpected error: {type(error).__name__}"
    return ""


def _as_text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


class _NotPostedError(Exception):
    """A post did not arrive. Says why without the URL, which httpx writes into its own errors."""

    def __init__(self, reason: str, *, temporary: bool) -> None:
        super().__init__(reason)
        self.temporary = temporary


def _posting(webhook: str, alert: Alert) -> _HandOver:
    return lambda limit: _post(webhook, alert.chat_text, limit)


def _post(webhook: str, text: str, limit: TimeLimit) -> None:
    import httpx

    # At INFO httpx logs the URL of every request.
    logging.getLogger("httpx").setLevel(logging.WARNING)

    def watch(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            limit.watch(info["return_value"].get_extra_info("socket"))

    try:
        limit.require()
        with (
            httpx.Client(timeout=_ONE_TRY.total_seconds()) as client,
            client.stream("POST", webhook, json={"text": text}, extensions={"trace": watch}) as answer,
        ):
            status = answer.status_code  # what else it says is not read
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeError):
        raise _NotPostedError("it is no web address", temporary=False) from None
    except (httpx.TransportError, TimeoutError) as error:
        reason = f"no answer: {type(error).__name__}"
        raise _NotPostedError(reason, temporary=True) from None
    if not is_success(status):
        reason = f"it answered {status}"
        raise _NotPostedError(reason, temporary=is_temporary(status))
