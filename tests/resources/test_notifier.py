"""Alerts reach the log, the webhook and the mailboxes, over real HTTP and SMTP, and none is lost when one fails."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg
import pytest
import time_machine

from mentor_pipeline.errors import AlertLostError, ConfigError
from mentor_pipeline.resources import notifier as notifier_module
from mentor_pipeline.resources.notifier import Alert, Notifier
from mentor_pipeline.settings import ALERT_SMTP_URL, ALERT_WEBHOOK, Settings
from tests.resources.dripping import Dripping
from tests.resources.mailbox import PASSWORD, USER, Mailbox, trusted
from tests.resources.scripted import Reply, Scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hook-of-our-channel"
ALERT = Alert(
    kind="run_failed",
    title="sync failed.",
    details=["raw_mn_signups: Jotform said no."],
    advice="Start it again.",
    run_id="r1",
    url="http://127.0.0.1:3000/runs/r1",
)
log = logging.getLogger("sensor")


def lines(settings: Settings) -> list[dict[str, Any]]:
    return [json.loads(line) for line in settings.alerts_path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def notifier(settings: Settings) -> Iterator[Notifier]:
    """The notifier as Dagster makes it, with the webhook from the environment."""
    with dg.build_resources({"notifier": Notifier.from_settings(settings)}) as resources:
        yield resources.notifier


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv(ALERT_WEBHOOK, raising=False)
    return Settings(data_dir=tmp_path / "data")


def outbox(settings: Settings) -> Path:
    return settings.data_dir / "alerts-outbox.json"


def with_webhook(settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv(ALERT_WEBHOOK, url)
    return Settings(data_dir=settings.data_dir)


def test_alerts_are_lines_of_a_file_newest_last(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with notifier(settings) as told:
        told.tell(ALERT, log)
        told.tell(Alert("check_failed", "1 check failed.", [], "Look.", "r2", "http://ui/runs/r2"), log)
    first, second = lines(settings)
    assert first.pop("at")
    assert first == {
        "kind": "run_failed",
        "title": "sync failed.",
        "details": ["raw_mn_signups: Jotform said no."],
        "advice": "Start it again.",
        "run_id": "r1",
        "url": "http://127.0.0.1:3000/runs/r1",
    }
    assert second["run_id"] == "r2"
    assert settings.alerts_path.stat().st_mode & 0o077 == 0
    assert "Jotform said no." in caplog.text


def test_the_webhook_gets_what_slack_expects(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted([Reply(b"ok")]) as channel:
        with notifier(with_webhook(settings, f"{channel.url}/{SECRET}", monkeypatch)) as told:
            told.tell(ALERT, log)
        (asked,) = channel.asked
    assert (asked.method, asked.path) == ("POST", f"/{SECRET}")
    assert asked.body == {
        "text": "```\nsync failed.\n- raw_mn_signups: Jotform said no.\n```\nStart it again.\nhttp://127.0.0.1:3000/runs/r1"
    }
    assert [line["kind"] for line in lines(settings)] == ["run_failed"]


def test_text_from_outside_can_neither_call_a_channel_nor_flood_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        "Ada <!channel> & \x1b[31mCo\nsecond line",
        "``` @all ![x](http://x.example.org) `",
        *(f"{number} {'x' * 5000}" for number in range(30)),
    ]
    with Scripted([Reply(b"ok")]) as channel:
        with notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
            told.tell(Alert("check_failed", "31 checks failed.", names, "Look.", "r1", "http://ui"), log)
        text = channel.asked[0].body["text"]
    code, _, rest = text.removeprefix("```\n").partition("\n```\n")
    assert "`" not in code
    assert "- ''' @all ![x](http://x.example.org) '\n" in code
    assert rest == "Look.\nhttp://ui"
    assert "- Ada &lt;!channel&gt; &amp; Co second line\n" in text
    assert "- and 22 more\n" in text
    assert len(text) < 12_000
    assert lines(settings)[0]["details"] == names


@pytest.mark.parametrize(
    ("reply", "tries", "reason"), [(Reply(status=404), 1, "answered 404"), (Reply(status=503), 3, "answered 503")]
)
@pytest.mark.usefixtures("no_waiting")
def test_a_webhook_that_fails_loses_no_alert_and_is_told_without_its_url(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    tries: int,
    reason: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    with Scripted([reply]) as channel:
        with notifier(with_webhook(settings, f"{channel.url}/{SECRET}", monkeypatch)) as told:
            told.tell(ALERT, log)
        assert len(channel.asked) == tries
    alert, failure = lines(settings)
    assert (alert["kind"], failure["kind"]) == ("run_failed", "webhook_failed")
    assert reason in failure["title"]
    assert ALERT_WEBHOOK in failure["title"]
    assert reason in caplog.text
    assert SECRET not in caplog.text + json.dumps(failure)


def test_a_webhook_that_was_down_for_a_moment_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, no_waiting: None
) -> None:
    with Scripted([Reply(status=503), Reply(status=429), Reply(b"ok")]) as channel:
        with notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
            told.tell(ALERT, log)
        assert len(channel.asked) == 3
    assert [line["kind"] for line in lines(settings)] == ["run_failed"]


def test_what_a_webhook_says_after_its_status_is_not_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted([Reply(b"ok", headers={"content-encoding": "gzip"})]) as channel:
        with notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
            told.tell(ALERT, log)
        assert len(channel.asked) == 1
    assert [line["kind"] for line in lines(settings)] == ["run_failed"]


@pytest.mark.parametrize(
    "url",
    [
        f"hooks.example.org/{SECRET}",
        f"https://hooks.example.org:{SECRET}",
        f"https://hooks..example.org/{SECRET}",
        f"https://{'x' * 64}.example.org/{SECRET}",
    ],
)
def test_a_webhook_that_is_no_address_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    with notifier(with_webhook(settings, url, monkeypatch)) as told:
        told.tell(ALERT, log)
    assert "no web address" in lines(settings)[1]["title"]
    assert SECRET not in caplog.text


def test_an_alert_is_posted_where_the_log_cannot_be_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.alerts_path.mkdir(parents=True)
    with Scripted([Reply(b"ok")]) as channel:
        with notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
            told.tell(ALERT, log)
        assert len(channel.asked) == 1
    assert "cannot be written" in caplog.text


def test_an_alert_that_reaches_nobody_is_an_error(settings: Settings) -> None:
    settings.alerts_path.mkdir(parents=True)
    with notifier(settings) as told, pytest.raises(AlertLostError, match=r"'sync failed\.' reached nobody.*writable"):
        told.tell(ALERT, log)


@pytest.mark.parametrize("older", [None, "lines of long ago"])
def test_a_long_alert_log_is_set_aside_in_place_of_the_one_before(settings: Settings, older: str | None) -> None:
    path, aside = settings.alerts_path, settings.alerts_path.with_name("alerts.log.1")
    with notifier(settings) as told:
        told.tell(ALERT, log)
        with path.open("a", encoding="utf-8") as file:
            file.write("x" * (notifier_module._LONGEST_LOG - path.stat().st_size - 1))
        if older is not None:
            aside.write_text(older)
        told.tell(ALERT, log)
        assert not aside.exists() or aside.read_text() == older
        told.tell(ALERT, log)
    assert len(lines(settings)) == 1
    assert aside.stat().st_size > notifier_module._LONGEST_LOG
    assert (path.stat().st_mode | aside.stat().st_mode) & 0o077 == 0


def test_a_long_alert_log_that_cannot_be_set_aside_grows_on(settings: Settings) -> None:
    settings.alerts_path.with_name("alerts.log.1").mkdir(parents=True)
    settings.alerts_path.write_text("x" * notifier_module._LONGEST_LOG + "\n")
    with notifier(settings) as told:
        told.tell(ALERT, log)
    assert settings.alerts_path.read_text().endswith('"url":"http://127.0.0.1:3000/runs/r1"}\n')


def test_the_webhook_is_shown_nowhere(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    given = with_webhook(settings, f"https://hooks.example.org/{SECRET}", monkeypatch)
    with notifier(given) as told:
        assert told.webhook == f"https://hooks.example.org/{SECRET}"
        assert SECRET not in repr(told)
    assert SECRET not in repr(given)
    assert SECRET not in repr(Notifier.from_settings(given))


# -- mail ------------------------------------------------------------------------------------------------------------

LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"


def with_mail(settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch, to: str = "ada@example.org") -> Settings:
    monkeypatch.setenv(ALERT_SMTP_URL, url)
    monkeypatch.setenv("MENTOR_PIPELINE_ALERT_FROM", "mentors@example.org")
    monkeypatch.setenv("MENTOR_PIPELINE_ALERT_TO", to)
    return Settings.load().model_copy(update={"data_dir": settings.data_dir})


def test_mails_have_the_whole_alert_for_everybody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Mailbox() as box:
        to = "ada@example.org, ben@example.org"
        with notifier(with_mail(settings, f"smtp://{box.place}", monkeypatch, to)) as told:
            told.tell(ALERT, log)
    (mail,) = box.got
    assert (mail["From"], mail["To"], mail["X-Taken-For"]) == ("mentors@example.org", to, to)
    assert mail["Subject"] == "[mentor-pipeline] sync failed."
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.tzinfo is not None
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == ALERT.text.splitlines()
    assert [line["kind"] for line in lines(settings)] == ["run_failed"]


def test_names_can_neither_add_headers_to_a_mail_nor_lines(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "Ada\r\nBcc: eve@example.org\r\n\r\n<b>Zoë\u202e\ud800</b> " + "x" * 5000
    with Mailbox() as box, notifier(with_mail(settings, f"smtp://{box.place}", monkeypatch)) as told:
        told.tell(Alert("check_failed", evil, [f"{evil}\r\n.\r\nQUIT"], "Look.", "r1", "http://ui"), log)
    assert lines(settings)[0]["title"].startswith("Ada\r\nBcc: eve@example.org\r\n\r\n<b>Zoë\u202e\\ud800</b> ")
    (mail,) = box.got
    assert mail["Bcc"] is None
    assert mail["X-Taken-For"] == "ada@example.org"
    assert mail["Subject"].startswith("[mentor-pipeline] Ada Bcc: eve@example.org <b>Zoë</b> xxx")
    assert len(mail["Subject"]) < 200
    assert len(mail.get_content().splitlines()) == 4


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_password_goes_encrypted_to_a_server_that_is_known(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    caplog.set_level(logging.DEBUG)
    certificate, authority = trusted(tmp_path)
    with Mailbox(certificate=certificate, has_tls=scheme == "smtps", wants_login=True) as box:
        given = with_mail(settings, f"{scheme}://{LOGIN}@{box.place}", monkeypatch)
        with notifier(given) as told:
            told.tell(ALERT, log)
            assert box.got == []
            assert "certificate is not trusted" in lines(settings)[1]["title"]
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            told.tell(ALERT, log)
            assert len(box.got) == 1
            assert PASSWORD not in repr(told)
        wrong = with_mail(settings, f"{scheme}://{quote(USER, safe='')}:{SECRET}@{box.place}", monkeypatch)
        with notifier(wrong) as told:
            told.tell(ALERT, log)
        assert len(box.got) == 1
    failure = lines(settings)[-1]
    assert (failure["kind"], failure["run_id"]) == ("mail_failed", "r1")
    assert "refused user name or password (535)" in failure["title"]
    assert ALERT_SMTP_URL in failure["title"]
    shown = caplog.text + settings.alerts_path.read_text() + repr(given) + repr(Notifier.from_settings(given))
    for secret in (PASSWORD, quote(PASSWORD, safe=""), SECRET):
        assert secret not in shown


def test_a_password_is_not_sent_where_anybody_could_read_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Mailbox() as box, notifier(with_mail(settings, f"smtp://{LOGIN}@{box.place}", monkeypatch)) as told:
        told.tell(ALERT, log)
    assert box.got == []
    assert "the password was not sent" in lines(settings)[1]["title"]


@pytest.mark.parametrize(
    ("answers", "tries", "reason"),
    [
        (["451 later", "451 later", "250 OK"], 3, None),
        (["451 later"], 3, "it answered 451"),
        (["554 no"], 1, "it answered 554"),
    ],
)
@pytest.mark.usefixtures("no_waiting")
def test_a_mail_is_tried_again_where_that_can_help(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, answers: list[str], tries: int, reason: str | None
) -> None:
    with Mailbox(answers=answers) as box, notifier(with_mail(settings, f"smtp://{box.place}", monkeypatch)) as told:
        told.tell(ALERT, log)
    assert box.asked == tries
    if reason is None:
        assert [line["kind"] for line in lines(settings)] == ["run_failed"]
    else:
        assert reason in lines(settings)[1]["title"]


@pytest.mark.parametrize("answer", ["550 no such box", "450 come back later"])
@pytest.mark.usefixtures("no_waiting")
def test_who_is_refused_is_named_and_the_others_get_it_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    with Mailbox(refused=("gone@example.org",), refusal=answer) as box:
        given = with_mail(settings, f"smtp://{box.place}", monkeypatch, "ada@example.org,gone@example.org")
        with notifier(given) as told:
            told.tell(ALERT, log)
    assert [mail["X-Taken-For"] for mail in box.got] == ["ada@example.org"]
    assert f"it refused gone@example.org ({answer[:3]})" in lines(settings)[1]["title"]
    assert not outbox(settings).exists()  # handed over again, the others would have it twice


@pytest.mark.usefixtures("no_waiting")
def test_one_way_that_fails_keeps_no_alert_from_the_other(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted([Reply(b"ok")]) as channel, Mailbox() as box:
        both = with_mail(with_webhook(settings, channel.url, monkeypatch), f"smtp://{box.place}", monkeypatch)
        with notifier(both) as told:
            told.tell(ALERT, log)
        assert (len(channel.asked), len(box.got)) == (1, 1)
        place = box.place
    settings.alerts_path.unlink()
    settings.alerts_path.mkdir()
    with Scripted([Reply(b"ok")]) as channel:
        down = with_mail(with_webhook(settings, channel.url, monkeypatch), f"smtp://{place}", monkeypatch)
        with notifier(down) as told:
            told.tell(ALERT, log)
        assert len(channel.asked) == 1
    monkeypatch.delenv(ALERT_WEBHOOK)
    with notifier(with_mail(settings, f"smtp://{place}", monkeypatch)) as told:
        told.tell(ALERT, log)  # it is kept
        outbox(settings).unlink()
        outbox(settings).mkdir()
        with pytest.raises(AlertLostError) as lost:
            told.tell(ALERT, log)
    assert "could not be mailed (no answer: ConnectionRefusedError)" in str(lost.value)
    assert "cannot be kept in" in str(lost.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mail.example.org", "expected smtps://user:password@host:465"),
        (f"smtp://mail.example.org:{SECRET}", "expected smtps://user:password@host:465"),
        (f"https://u:{SECRET}@x.org", "expected smtps://user:password@host:465"),
        (f"smtp://{SECRET}@x", "expected smtps://user:password@host:465"),
        (f"smtp://u:{SECRET}@mail..example.org:587", "its host is no name that there can be"),
        (f"smtps://u:{SECRET}@{'x' * 64}.example.org", "its host is no name that there can be"),
        (f"smtp://u:{SECRET}%C3%A4@mail.example.org:587", "cannot be sent: choose another"),
    ],
)
def test_a_mail_server_that_is_none_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str, words: str
) -> None:
    with notifier(with_mail(settings, url, monkeypatch)) as told:
        told.tell(ALERT, log)
    alert, failure = lines(settings)
    assert (alert["kind"], failure["kind"]) == ("run_failed", "mail_failed")
    assert words in failure["title"]
    assert ALERT_SMTP_URL in failure["title"]
    assert SECRET not in failure["title"] + caplog.text


def test_a_mail_server_without_sender_or_receivers_is_a_fault(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as refused:
        with_mail(settings, f"smtp://{LOGIN}@mail.example.org", monkeypatch, "ada@example.org, ben")
    assert "MENTOR_PIPELINE_ALERT_TO: expected e-mail addresses" in str(refused.value)
    assert "ALERT_FROM" not in str(refused.value)
    monkeypatch.delenv("MENTOR_PIPELINE_ALERT_FROM")
    with pytest.raises(ConfigError, match="ALERT_FROM: expected an e-mail address") as refused:
        Settings.load()
    assert LOGIN not in str(refused.value)


# -- what never ends, and what nobody thought of ---------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each way."""
    monkeypatch.setattr(notifier_module, "_ALL_TRIES", timedelta(seconds=1))


@pytest.mark.parametrize(
    ("scheme", "first", "then"),
    [
        ("http", b"HTTP/1.1 200 OK\r\n", b"X-Wait: 1\r\n"),
        ("http", b"H", b""),
        ("https", b"\x16\x03\x03\x40\x00", b"\0"),
        ("smtp", b"", b"220-wait\r\n"),
        ("smtp", b"", b"2"),
        ("smtps", b"\x16\x03\x03\x40\x00", b"\0"),
    ],
)
@pytest.mark.usefixtures("short")
def test_what_drips_is_left_and_the_other_way_still_works(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, scheme: str, first: bytes, then: bytes
) -> None:
    with Dripping(first, then) as slow, Scripted([Reply(b"ok")]) as channel, Mailbox() as box:
        is_mail = scheme.startswith("smtp")
        webhook, mail = (
            (channel.url, f"{scheme}://{slow.place}")
            if is_mail
            else (f"{scheme}://{slow.place}", f"smtp://{box.place}")
        )
        with notifier(with_mail(with_webhook(settings, webhook, monkeypatch), mail, monkeypatch)) as told:
            began = time.monotonic()
            told.tell(ALERT, log)
            took = time.monotonic() - began
        slow.require_ended()
        assert (len(channel.asked), len(box.got)) == ((1, 0) if is_mail else (0, 1))
    alert, failure = lines(settings)
    assert (alert["kind"], failure["kind"]) == ("run_failed", "mail_failed" if is_mail else "webhook_failed")
    assert "no answer" in failure["title"]
    assert took < 4


@pytest.mark.usefixtures("short")
def test_a_name_that_is_looked_up_for_ever_is_not_waited_for_and_nothing_is_sent_afterwards(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, look_up = threading.Event(), socket.getaddrinfo

    def slow(*where: Any, **more: Any) -> Any:
        answered.wait(10)
        return look_up(*where, **more)

    with Scripted([Reply(b"ok")]) as channel, Mailbox() as box:
        both = with_mail(with_webhook(settings, channel.url, monkeypatch), f"smtp://{box.place}", monkeypatch)
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        with notifier(both) as told:
            began = time.monotonic()
            told.tell(ALERT, log)
            assert time.monotonic() - began < 4
        answered.set()
        time.sleep(0.5)
        assert (channel.asked, box.got) == ([], [])
    assert [line["kind"] for line in lines(settings)] == ["run_failed", "webhook_failed", "mail_failed"]


def test_what_nobody_thought_of_is_a_line_of_its_way_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise LookupError(SECRET)

    monkeypatch.setattr(notifier_module, "_post", broken)
    with Mailbox() as box:
        both = with_mail(with_webhook(settings, "http://127.0.0.1:1", monkeypatch), f"smtp://{box.place}", monkeypatch)
        with notifier(both) as told:
            told.tell(ALERT, log)
        assert len(box.got) == 1
    alert, failure = lines(settings)
    assert (alert["kind"], failure["kind"]) == ("run_failed", "webhook_failed")
    assert f"(unexpected error: LookupError). Check {ALERT_WEBHOOK}." in failure["title"]
    assert SECRET not in caplog.text + failure["title"]


# -- what is handed over late ----------------------------------------------------------------------------------------

START = datetime(2025, 10, 1, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(START, tick=False) as clock:
        yield clock


def alert(number: int) -> Alert:
    return replace(ALERT, title=f"Job {number} failed.", run_id=f"r{number}")


def refusing(settings: Settings, alerts: list[Alert], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell alerts while the webhook takes none."""
    with Scripted([Reply(status=404)]) as channel, notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
        for one in alerts:
            told.tell(one, log)


def test_what_a_webhook_did_not_take_is_posted_once_when_it_works_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    refusing(settings, [ALERT], monkeypatch)
    assert outbox(settings).stat().st_mode & 0o077 == 0
    assert "It is kept" in lines(settings)[1]["title"]
    clock.shift(MINUTE)
    with Scripted([Reply(b"ok")]) as channel:
        for _ in range(3):
            with notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
                told.hand_over_late(log)
            clock.shift(DAY)
        (asked,) = channel.asked
    assert asked.body["text"] == (
        "```\nLate, as it could not be handed over on 2025-10-01 12:00 UTC: sync failed.\n"
        "- raw_mn_signups: Jotform said no.\n```\nStart it again.\nhttp://127.0.0.1:3000/runs/r1"
    )
    assert [line["kind"] for line in lines(settings)] == ["run_failed", "webhook_failed"]
    assert not outbox(settings).exists()


def test_many_that_wait_are_one_message_the_oldest_first(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    refusing(settings, [alert(1)], monkeypatch)
    clock.shift(MINUTE)
    refusing(settings, [replace(alert(2), title="Zoë\ud800\nfailed.", details=["x" * 5000] * 30)], monkeypatch)
    with Scripted([Reply(b"ok")]) as channel, notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
        told.hand_over_late(log)
        told.hand_over_late(log)
        (asked,) = channel.asked
    first, one, two, *_ = asked.body["text"].removeprefix("```\n").splitlines()
    assert first == "Late: 2 alerts since 2025-10-01 12:00 UTC, which could not be handed over then."
    assert one == "- 2025-10-01 12:00 UTC: Job 1 failed. raw_mn_signups: Jotform said no."
    assert two.startswith("- 2025-10-01 12:01 UTC: Zoë failed. xxx")
    assert len(two) < 1100


def test_each_way_gets_late_only_what_it_did_not_take(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller, no_waiting: None
) -> None:
    with Scripted([Reply(status=503)]) as channel, Mailbox(answers=["250 OK", "554 no", "250 OK"]) as box:
        down = with_mail(with_webhook(settings, channel.url, monkeypatch), f"smtp://{box.place}", monkeypatch)
        with notifier(down) as told:
            told.tell(alert(1), log)
            told.tell(alert(2), log)
        channel.answer = lambda _: Reply(b"ok")
        channel.asked.clear()
        for _ in range(2):
            with notifier(down) as told:
                told.hand_over_late(log)
            clock.shift(DAY)
        (asked,) = channel.asked
    assert asked.body["text"].startswith("```\nLate: 2 alerts since")
    assert [mail["Subject"].removeprefix("[mentor-pipeline] ") for mail in box.got] == [
        "Job 1 failed.",
        "Late, as it could not be handed over on 2025-10-01 12:00 UTC: Job 2 failed.",
    ]


def test_one_way_that_stays_down_does_not_repeat_what_the_other_had_late(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    with Scripted([Reply(status=404)]) as channel, Mailbox(answers=["554 no", "250 OK"]) as box:
        both = with_mail(with_webhook(settings, channel.url, monkeypatch), f"smtp://{box.place}", monkeypatch)
        with notifier(both) as told:
            told.tell(ALERT, log)
            for _ in range(3):
                told.hand_over_late(log)
                clock.shift(20 * MINUTE)
        assert (len(channel.asked), len(box.got)) == (4, 1)


def test_a_way_that_stays_down_is_tried_after_pauses_and_given_up_after_days(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    with Scripted([Reply(status=404)]) as channel, notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
        told.tell(ALERT, log)
        tried = []
        for minute in range(60):
            before = len(channel.asked)
            told.hand_over_late(log)
            tried += [minute] * (len(channel.asked) - before)
            clock.shift(MINUTE)
        assert tried == [0, 1, 2, 4, 8, 16, 26, 36, 46, 56]
        clock.shift(3 * DAY)
        told.hand_over_late(log)
        assert len(channel.asked) == 1 + len(tried)
    failed, given_up = lines(settings)[1:]
    assert (failed["kind"], given_up["kind"]) == ("webhook_failed", "webhook_given_up")
    assert given_up["title"].startswith("1 alert was not handed over in time (webhook) and given up")
    assert given_up["details"] == ["2025-10-01 12:00 UTC: sync failed."]
    assert not outbox(settings).exists()


@pytest.mark.usefixtures("clock")
def test_of_too_many_that_wait_the_oldest_are_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    most = notifier_module._MOST_KEPT
    refusing(settings, [alert(number) for number in range(most + 2)], monkeypatch)
    given_up = [line["details"] for line in lines(settings) if line["kind"] == "webhook_given_up"]
    assert given_up == [[f"2025-10-01 12:00 UTC: Job {number} failed."] for number in range(2)]
    with Scripted([Reply(b"ok")]) as channel, notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
        told.hand_over_late(log)
        assert f"Late: {most} alerts since" in channel.asked[0].body["text"]


def test_two_sensors_at_once_post_once_and_keep_everything(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted([Reply(status=404)]) as channel:
        given = with_webhook(settings, channel.url, monkeypatch)
        with notifier(given) as told, ThreadPoolExecutor(4) as pool:
            told.tell(alert(0), log)
            telling = [pool.submit(told.tell, alert(number), log) for number in range(1, 12)]
            while not all(one.done() for one in telling):
                json.loads(outbox(settings).read_text())  # whole whenever somebody looks, or a kill ends the writing
                time.sleep(0.001)
            assert [one.exception() for one in telling] == [None] * 11
        kept = json.loads(outbox(settings).read_text())["waiting"]
        assert sorted(one["alert"]["run_id"] for one in kept) == sorted(f"r{number}" for number in range(12))
        channel.answer = lambda _: Reply(b"ok", pause_seconds=0.3)
        channel.asked.clear()
        with notifier(given) as told, ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: told.hand_over_late(log), range(4)))
        assert len(channel.asked) == 1


@pytest.mark.parametrize("content", ["", "[1]", '{"waiting": [{"at": 1}]}', "\x00\udcff"])
def test_an_outbox_of_somebody_else_is_as_none(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    outbox(settings).parent.mkdir(parents=True)
    outbox(settings).write_bytes(content.encode(errors="surrogateescape"))
    outbox(settings).with_suffix(".new").write_text("left over by a kill")
    refusing(settings, [ALERT], monkeypatch)
    with Scripted([Reply(b"ok")]) as channel, notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
        told.hand_over_late(log)
        assert len(channel.asked) == 1


def test_an_outbox_that_cannot_be_written_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outbox(settings).mkdir(parents=True)
    refusing(settings, [ALERT], monkeypatch)
    assert [line["kind"] for line in lines(settings)] == ["run_failed", "webhook_failed"]
    assert "It is kept" not in lines(settings)[1]["title"]
    assert "cannot be kept in" in caplog.text
    with notifier(settings) as told:
        told.hand_over_late(log)
    assert caplog.text.count("cannot be kept in") == 2
