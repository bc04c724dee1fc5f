"""Alerts reach the log and the webhook, over real HTTP, and none is lost when one of the two fails."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from mentor_pipeline.errors import AlertLostError
from mentor_pipeline.resources.notifier import Alert, Notifier
from mentor_pipeline.settings import ALERT_WEBHOOK, Settings
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
        "text": "sync failed.\n- raw_mn_signups: Jotform said no.\nStart it again.\nhttp://127.0.0.1:3000/runs/r1"
    }
    assert [line["kind"] for line in lines(settings)] == ["run_failed"]


def test_text_from_outside_can_neither_call_a_channel_nor_flood_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["Ada <!channel> & \x1b[31mCo\nsecond line", *(f"{number} {'x' * 5000}" for number in range(30))]
    with Scripted([Reply(b"ok")]) as channel:
        with notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
            told.tell(Alert("check_failed", "31 checks failed.", names, "Look.", "r1", "http://ui"), log)
        text = channel.asked[0].body["text"]
    assert "- Ada &lt;!channel&gt; &amp; Co second line\n" in text
    assert "- and 21 more\n" in text
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
    with Scripted([Reply(b"x", resets_after=0), Reply(status=429), Reply(b"ok")]) as channel:
        with notifier(with_webhook(settings, channel.url, monkeypatch)) as told:
            told.tell(ALERT, log)
        assert len(channel.asked) == 3
    assert [line["kind"] for line in lines(settings)] == ["run_failed"]


@pytest.mark.parametrize("url", [f"hooks.example.org/{SECRET}", f"https://hooks.example.org:{SECRET}"])
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


def test_the_webhook_is_shown_nowhere(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    given = with_webhook(settings, f"https://hooks.example.org/{SECRET}", monkeypatch)
    with notifier(given) as told:
        assert told.webhook == f"https://hooks.example.org/{SECRET}"
        assert SECRET not in repr(told)
    assert SECRET not in repr(given)
    assert SECRET not in repr(Notifier.from_settings(given))
