"""Where alerts go: a log of their own, Dagster's log, and a chat channel if one is set.

An `Alert` says what happened and what to do; the `Notifier` hands it over. The alert log in the data folder comes
first, so that a webhook that fails loses nothing, and what failed is told there too. What is worth an alert is decided
in `sensors.alerts`. The webhook's URL is a secret: whoever has it can post.
"""

import html
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg
import httpx
import stamina
from pydantic import Field

from mentor_pipeline.domain.findings import to_json
from mentor_pipeline.errors import AlertLostError
from mentor_pipeline.resources.http import is_temporary, printable
from mentor_pipeline.settings import ALERT_WEBHOOK, Settings

_SHOWN_LINES: Final = 10
_LONGEST_LINE: Final = 1000
_TRIES: Final = 3
_ONE_TRY: Final = timedelta(seconds=2)
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
        run_id: the run it is about.
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
        shown = [f"- {printable(line, longest=_LONGEST_LINE)}" for line in self.details[:_SHOWN_LINES]]
        if len(self.details) > _SHOWN_LINES:
            shown.append(f"- and {len(self.details) - _SHOWN_LINES} more")
        return "\n".join([printable(self.title), *shown, self.advice, self.url])


class Notifier(dg.ConfigurableResource["Notifier"]):
    """Hands alerts over to people."""

    log_file: str = Field(description="File that gets one JSON line for each alert, newest last.")
    ui_url: str = Field(description="Where Dagster's UI is.")
    webhook: str | None = Field(default=None, repr=False, description="Slack-compatible incoming webhook.")

    @classmethod
    def from_settings(cls, settings: Settings) -> "Notifier":
        """The notifier of an installation; it takes the webhook from the environment when it is used."""
        return cls(
            log_file=str(settings.alerts_path),
            ui_url=settings.ui_url,
            webhook=dg.EnvVar(ALERT_WEBHOOK) if settings.alert_webhook else None,
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
            AlertLostError: it could be neither written nor posted.
        """
        log.warning("%s", alert.text)
        unwritten = self._written({"at": datetime.now(UTC), **asdict(alert)})
        if unwritten:
            log.error("%s", unwritten)
        if self.webhook is None:
            unposted = f"No webhook is set ({ALERT_WEBHOOK})."
        else:
            unposted = self._posted(alert, self.webhook)
            if unposted:
                log.error("%s", unposted)
                failure = {"kind": "webhook_failed", "title": unposted, "run_id": alert.run_id}
                unwritten = self._written({"at": datetime.now(UTC), **failure}) or unwritten
        if unwritten and unposted:
            msg = f"The alert {alert.title!r} reached nobody. {unwritten} {unposted}"
            raise AlertLostError(msg)

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
                    _post(webhook, alert.text)
        except _NotPostedError as error:
            return f"The alert {alert.title!r} could not be posted to the webhook ({error}). Check {ALERT_WEBHOOK}."
        return ""


class _NotPostedError(Exception):
    """A post did not arrive. Says why without the URL, which httpx writes into its own errors."""

    def __init__(self, reason: str, *, temporary: bool) -> None:
        super().__init__(reason)
        self.temporary = temporary


def _worth_another_try(error: Exception) -> bool:
    return isinstance(error, _NotPostedError) and error.temporary


def _post(webhook: str, text: str) -> None:
    # At INFO httpx logs the URL of every request.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Escaped as Slack asks for, so that a name in the text can neither make a link nor call a whole channel.
    message = {"text": html.escape(text, quote=False)}
    try:
        status = httpx.post(webhook, json=message, timeout=_ONE_TRY.total_seconds()).status_code
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise _NotPostedError("it is no web address", temporary=False) from None
    except httpx.TransportError as error:
        reason = f"no answer: {type(error).__name__}"
        raise _NotPostedError(reason, temporary=True) from None
    if not httpx.codes.is_success(status):
        reason = f"it answered {status}"
        raise _NotPostedError(reason, temporary=is_temporary(status))
