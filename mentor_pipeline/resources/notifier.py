"""Where alerts go: a log of their own, Dagster's log, and a chat channel and mailboxes if they are set.

An `Alert` says what happened and what to do; the `Notifier` hands it over. The alert log in the data folder comes
first, and what failed is told there too. What a webhook or a mail server did not take waits in an outbox beside it, for
each of them by itself, and is handed over late, in one message, when that works again. What is worth an alert is
decided in `sensors`. The addresses of webhook and mail server are secrets: whoever has them can post.
"""

import html
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import make_msgid
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import dagster as dg
from filelock import FileLock
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

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
"""A sensor has a minute for a tick, in which it may have five messages to hand over, the late one included."""
_LAST_WORDS: Final = timedelta(seconds=1)
"""For a way whose time is over to say so; the look-up of a host's name ends when it likes and is not waited for."""
_TOO_LONG: Final = f"no answer within {_ALL_TRIES.total_seconds():g} s"

_MINUTE: Final = "%Y-%m-%d %H:%M UTC"
_OUTBOX: Final = "alerts-outbox.json"
_LOCK: Final = "alerts.lock"
"""Held for moments, while the outbox is changed or the log set aside; never while something is handed over."""
_LOCK_WAIT_S: Final = 5
_MOST_KEPT: Final = 50
"""Alerts that wait for one way; the oldest are let go."""
_KEPT_FOR: Final = timedelta(days=3)
_SHORTEST_PAUSE: Final = timedelta(minutes=1)
"""Between two tries to hand over late; longer than one takes, so that two sensors never try at once."""
_LONGEST_PAUSE: Final = timedelta(minutes=10)
"""Often enough for people who wait, and too seldom for a mail server that shuts accounts after wrong passwords."""
_LONGEST_LOG: Final = 5_000_000
"""Bytes. A longer alert log is set aside; it takes the place of the one that was before."""

_HandOver: TypeAlias = Callable[[TimeLimit], None]
"""One try to hand an alert over."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to hand alerts over, besides the alert log.

    Attributes:
        name: its name in the outbox, and in the kinds of lines that tell in the alert log that it failed.
        done: what is done with an alert, in words.
        setting: where it is set up.
        prepared: makes an alert ready to be handed over.
    """

    name: str
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
        return [printable(self.title), *(f"- {line}" for line in self.shown_details)]

    @property
    def shown_details(self) -> list[str]:
        """The details as they are shown, of bounded number and length."""
        shown = [printable(line, longest=_LONGEST_LINE) for line in self.details[:_SHOWN_LINES]]
        if len(self.details) > _SHOWN_LINES:
            shown.append(f"and {len(self.details) - _SHOWN_LINES} more")
        return shown


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an alert was not handed over in one way.

    Attributes:
        reason: in words, without an address that is secret.
        is_partial: True where some people have it all the same; handed over again, they would have it twice.
    """

    reason: str
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    """An alert that waits for one way.

    Attributes:
        at: when it was told.
        way: the name of the way.
        alert: the alert, of bounded length.
    """

    at: AwareDatetime
    way: str
    alert: Alert


@dataclass(slots=True)
class _Outbox:
    """What could not be handed over, the oldest first.

    Attributes:
        waiting: the alerts, each once for each way that it waits for.
        try_at: by way, when it is tried next.
    """

    waiting: list[_Kept] = field(default_factory=list)
    try_at: dict[str, AwareDatetime] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "_Outbox":
        """What is stored; a file that is none of ours is as none.

        Raises:
            OSError: it cannot be read.
        """
        try:
            return _STORED.validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return cls()

    def store(self, path: Path) -> None:
        """Write the file anew, so that a kill leaves the old one or the new one.

        Raises:
            OSError: it cannot be written.
        """
        if not self.waiting:
            path.unlink(missing_ok=True)
            return
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        with new.open("wb") as file:
            file.write(_STORED.dump_json(self))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def due(self, way: str, now: datetime) -> list[_Kept]:
        """What waits for a way, where its next try has come; the one after that is put off."""
        waiting = [kept for kept in self.waiting if kept.way == way]
        # A time further off was set when the clock was wrong.
        if not waiting or now < self.try_at.get(way, now) <= now + _LONGEST_PAUSE:
            return []
        self.try_at[way] = now + min(max(now - waiting[0].at, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        return waiting

    def remove(self, kept: Sequence[_Kept]) -> None:
        """Let alerts go; a way for which nothing waits is tried at once when something does again."""
        self.waiting = [one for one in self.waiting if one not in kept]
        left = {one.way for one in self.waiting}
        self.try_at = {way: at for way, at in self.try_at.items() if way in left}

    def give_up(self, now: datetime) -> list[_Kept]:
        """Let go what waits for too long, or before too many others."""
        counts: dict[str, int] = {}
        given_up = []
        for one in reversed(self.waiting):
            counts[one.way] = counts.get(one.way, 0) + 1
            if counts[one.way] > _MOST_KEPT or now - one.at > _KEPT_FOR:
                given_up.append(one)
        self.remove(given_up)
        return given_up[::-1]


_STORED: Final = TypeAdapter(_Outbox)


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
            AlertLostError: it could be neither written, nor posted, nor mailed, nor kept for later.
        """
        now = datetime.now(UTC)
        log.warning("%s", alert.text)
        # A file's name may hold bytes that are no text; JSON takes none.
        line = {**asdict(alert), "title": _as_text(alert.title), "details": [_as_text(one) for one in alert.details]}
        unwritten = self._written({"at": now, **line})
        ways = self._ways()
        failures = _handed_over([(way, alert) for way in ways])
        failed = [(way, failure) for way, failure in zip(ways, failures, strict=True) if failure is not None]
        again = [way.name for way, failure in failed if not failure.is_partial]
        unkept = self._keep(now, alert, again, log) if again else ""
        faults = [fault for fault in (unwritten, unkept) if fault]
        for way, failure in failed:
            said = _said(alert, way, failure)
            if way.name in again and not unkept:
                said += " It is kept, and handed over when that works again."
            kind = f"{way.name}_failed"
            self._written({"at": datetime.now(UTC), "kind": kind, "title": said, "run_id": alert.run_id})
            faults.append(said)
        for fault in faults:
            log.error("%s", fault)
        if not ways:
            faults.append(f"Neither a webhook ({ALERT_WEBHOOK}) nor a mail server ({ALERT_SMTP_URL}) is set.")
        if unwritten and len(again) == len(ways) and (unkept or not again):
            msg = f"The alert {alert.title!r} reached nobody. {' '.join(faults)}"
            raise AlertLostError(msg)

    def hand_over_late(self, log: logging.Logger) -> None:
        """Hand over what an earlier failure kept back, in one message for each way; called first in each tick.

        A way that fails again is tried after a pause; what waits too long is given up, which the alert log tells.

        Args:
            log: Dagster's log of the sensor.
        """
        if not self._beside(_OUTBOX).exists():
            return
        try:
            with self._outbox() as outbox:
                now = datetime.now(UTC)
                given_up = outbox.give_up(now)
                due = [(way, kept) for way in self._ways() if (kept := outbox.due(way.name, now))]
            self._tell_given_up(given_up, log)
            failures = _handed_over([(way, _late(kept, self.ui_url)) for way, kept in due])
            arrived = []
            for (way, kept), failure in zip(due, failures, strict=True):
                if failure is None or failure.is_partial:
                    arrived += kept
                    log.info("%d that had waited were %s.", len(kept), way.done)
                else:
                    log.error("%d not %s yet (%s). Check %s.", len(kept), way.done, failure.reason, way.setting)
            if arrived:
                with self._outbox() as outbox:
                    outbox.remove(arrived)
        except OSError as error:
            log.error("%s", self._unstored(error))  # noqa: TRY400 - it says what there is to know

    def _keep(self, at: datetime, alert: Alert, ways: Sequence[str], log: logging.Logger) -> str:
        """Keep an alert for ways that failed; returns what went wrong, or nothing."""
        short = replace(alert, title=printable(alert.title), details=alert.shown_details)
        try:
            with self._outbox() as outbox:
                outbox.waiting += [_Kept(at, way, short) for way in ways]
                given_up = outbox.give_up(at)
        except OSError as error:
            return self._unstored(error)
        self._tell_given_up(given_up, log)
        return ""

    def _tell_given_up(self, given_up: Sequence[_Kept], log: logging.Logger) -> None:
        for way in sorted({kept.way for kept in given_up}):
            alerts = [f"{kept.at:{_MINUTE}}: {kept.alert.title}" for kept in given_up if kept.way == way]
            count = "1 alert was" if len(alerts) == 1 else f"{len(alerts)} alerts were"
            title = f"{count} not handed over in time ({way}) and given up; only this log has what is in it."
            log.error("%s", title)
            self._written({"at": datetime.now(UTC), "kind": f"{way}_given_up", "title": title, "details": alerts})

    def _beside(self, name: str) -> Path:
        return Path(self.log_file).with_name(name)

    def _locked(self) -> FileLock:
        return FileLock(self._beside(_LOCK), timeout=_LOCK_WAIT_S, mode=0o600)

    @contextmanager
    def _outbox(self) -> Iterator[_Outbox]:
        """The outbox, to be changed by one at a time, and stored.

        Raises:
            OSError: it cannot be read or stored.
        """
        path = self._beside(_OUTBOX)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            outbox = _Outbox.read(path)
            yield outbox
            outbox.store(path)

    def _unstored(self, error: OSError) -> str:
        path, why = self._beside(_OUTBOX), error.strerror or error
        return f"What waits to be handed over cannot be kept in {path}: {why}. Make room, or the folder writable."

    def _ways(self) -> list[_Way]:
        webhook, smtp_url = self.webhook, self.smtp_url
        ways = []
        if webhook is not None:
            ways.append(_Way("webhook", "posted to the webhook", ALERT_WEBHOOK, partial(_posting, webhook)))
        if smtp_url is not None:
            ways.append(_Way("mail", "mailed", ALERT_SMTP_URL, partial(self._mailing, smtp_url)))
        return ways

    def _written(self, line: dict[str, object]) -> str:
        """Append to the alert log; returns what went wrong, or nothing."""
        path = Path(self.log_file)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._set_aside(path)
            path.touch(mode=0o600)
            with path.open("a", encoding="utf-8") as file:
                file.write(to_json(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return f"The alert log {path} cannot be written: {error.strerror}. Make room, or the file writable."
        return ""

    def _set_aside(self, log: Path) -> None:
        """Begin a new alert log where the old one is long."""
        with suppress(OSError):  # there is none yet; or it grows on, which is better than an alert that is lost
            if log.stat().st_size >= _LONGEST_LOG:
                with self._locked():
                    if log.stat().st_size >= _LONGEST_LOG:  # nobody was faster
                        log.replace(log.with_name(f"{log.name}.1"))

    def _mailing(self, smtp_url: str, alert: Alert) -> _HandOver:
        server, message = MailServer.at(smtp_url), self._mail(alert)

        def hand_over(limit: TimeLimit) -> None:
            try:
                server.send(message, timeout_s=_ONE_ANSWER.total_seconds(), limit=limit)
            except NotMailedError as error:
                # Who is refused is named in its words.
                if 0 < sum(f" {address} (" in str(error) for address in self.mail_to) < len(self.mail_to):
                    raise _NotForAllError(str(error)) from None
                raise

        return hand_over

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


def _handed_over(messages: Sequence[tuple[_Way, Alert]]) -> list[_Failure | None]:
    """Hand over what each way has to; returns what went wrong with each, or nothing."""
    if not messages:
        return []
    # At once, so that two that hang take no longer than one.
    pool = ThreadPoolExecutor(max_workers=len(messages))
    trying = [pool.submit(_why_not, alert, way) for way, alert in messages]
    wait(trying, (_ALL_TRIES + _LAST_WORDS).total_seconds())
    pool.shutdown(wait=False)
    return [one.result() if one.done() else _Failure(_TOO_LONG) for one in trying]


def _said(alert: Alert, way: _Way, failure: _Failure) -> str:
    return _as_text(f"The alert {alert.title!r} could not be {way.done} ({failure.reason}). Check {way.setting}.")


def _late(kept: Sequence[_Kept], ui_url: str) -> Alert:
    """What waited, the oldest first, as one alert."""
    since = f"{kept[0].at:{_MINUTE}}"
    if len(kept) == 1:
        return replace(kept[0].alert, title=f"Late, as it could not be handed over on {since}: {kept[0].alert.title}")
    return Alert(
        kind="late",
        title=f"Late: {len(kept)} alerts since {since}, which could not be handed over then.",
        details=[f"{one.at:{_MINUTE}}: {' '.join([one.alert.title, *one.alert.details])}" for one in kept],
        advice="What to do about each is in alerts.log in the data folder.",
        run_id="",
        url=ui_url,
    )


def _why_not(alert: Alert, way: _Way) -> _Failure | None:
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
        except _NotForAllError as error:
            return _Failure(str(error), is_partial=True)
        except (_NotPostedError, NotMailedError) as error:
            return _Failure(_TOO_LONG if limit.is_over else str(error))
        except Exception as error:  # noqa: BLE001 - raised, it would keep the alert from the other way, and come again
            # Without its words, which may hold the address.
            return _Failure(f"unexpected error: {type(error).__name__}")
    return None


def _as_text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


class _NotForAllError(Exception):
    """A mail arrived, but not at everybody's."""


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
