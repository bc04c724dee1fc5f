"""What both clients share, seen through them: retries, waits, faults, secrets."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
import time
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info
from hypothesis import given
from hypothesis import strategies as st

from mentor_pipeline.errors import ApiError, ConfigError, MentorPipelineError
from mentor_pipeline.resources import http
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.resources.http import LONGEST_WAIT, TRIES, checked_url, printable, wait_asked_for
from mentor_pipeline.resources.jotform import JotformResource
from tests.resources.mailbox import trusted
from tests.resources.scripted import Reply, Scripted

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

KEY = "k3y-Of-Nobody-1f9c"
NOW = datetime(2025, 10, 1, 12, tzinfo=UTC)
SIGN_IN = b"<html><head><title>Sign in</title></head><body>Name: <input></body></html>"
USER = Reply({"responseCode": 200, "message": "success", "content": {"username": "office"}, "limit-left": 9996})


def jotform(server: Scripted, **settings: float) -> JotformResource:
    return JotformResource(api_key=KEY, base_url=server.url, **settings)


class Encrypted(Scripted):
    """The same over TLS."""

    def __init__(self, certificate: trustme.LeafCert) -> None:
        super().__init__([USER])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"https://{self.place}"


def givebutter(server: Scripted, requests_per_second: float = 1000) -> GivebutterResource:
    return GivebutterResource(api_key=KEY, base_url=f"{server.url}/v1", requests_per_second=requests_per_second)


class TestClocks:
    """What is known of a contact has its time by Givebutter's clock: a later read must never seem the earlier one."""

    @pytest.mark.parametrize("hours", [-3, 3])
    def test_an_answer_that_is_long_on_its_way_tells_the_time_no_worse(self, hours: int) -> None:
        off = timedelta(hours=hours)
        told = format_datetime(datetime.now(UTC) + off, usegmt=True)
        with Scripted([replace(USER, headers={"date": told}, pause_seconds=2)]) as server:
            client = jotform(server)
            client.user()
        assert abs(client.clock_ahead - off) < timedelta(seconds=1.5)  # the header knows no fractions

    def test_nor_does_it_make_the_clocks_differ(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "CLOCK_TOLERANCE", timedelta(seconds=1))
        with Scripted([replace(USER, pause_seconds=3)]) as server:
            client = jotform(server)
            client.user()
        assert client.clock_ahead == timedelta(0)


@pytest.mark.usefixtures("no_waiting")
class TestRetries:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_what_may_succeed_later_is_tried_again(self, status: int) -> None:
        with Scripted([Reply({"message": "busy"}, status), Reply({"message": "busy"}, status), USER]) as server:
            client = jotform(server)
            assert client.user() == {"username": "office"}
        assert (client.calls, client.retries) == (3, 2)

    @pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 409, 410, 422])
    def test_everything_else_fails_at_once(self, status: int) -> None:
        with Scripted([Reply({"message": "no"}, status), USER]) as server:
            client = jotform(server)
            with pytest.raises(ApiError, match=f"answered {status}.*Nothing was written") as caught:
                client.user()
        assert (client.calls, client.retries) == (1, 0)
        assert (caught.value.retryable, caught.value.status) == (False, status)

    def test_tries_are_bounded(self) -> None:
        with Scripted([Reply({"message": "down"}, 503)]) as server:
            client = jotform(server)
            with pytest.raises(ApiError, match=f"It was tried {TRIES} times") as caught:
                client.user()
        assert (client.calls, client.retries) == (TRIES, TRIES - 1)
        assert caught.value.retryable

    def test_a_silent_service_is_left_after_the_timeout_and_asked_again(self) -> None:
        with Scripted([Reply(hangs=True), USER]) as server:
            client = jotform(server, timeout_seconds=0.2)
            assert client.user() == {"username": "office"}
        assert client.retries == 1

    def test_a_connection_that_breaks_inside_the_body_is_asked_again(self) -> None:
        with Scripted([Reply({"content": "x" * 100_000}, resets_after=5_000), USER]) as server:
            client = jotform(server)
            assert client.user() == {"username": "office"}
        assert client.retries == 1

    def test_a_service_that_is_not_there(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{unused.getsockname()[1]}"
            client = JotformResource(api_key=KEY, base_url=address)
            with pytest.raises(ApiError, match=r"no usable answer.*JOTFORM_BASE_URL") as caught:
                client.user()
        assert (caught.value.retryable, caught.value.status) == (True, None)

    @pytest.mark.parametrize("host", ["api..jotform.com", f"{'x' * 64}.example.org"])
    def test_a_host_that_cannot_be_is_told_like_one_that_is_not_there(self, host: str) -> None:
        client = JotformResource(api_key=KEY, base_url=f"https://{host}")
        with pytest.raises(ApiError) as caught:
            client.user()
        assert (caught.value.retryable, caught.value.status) == (True, None)
        assert str(caught.value).startswith(
            "Jotform, GET /user: no usable answer (ConnectError: no host can have such a name). Nothing was written. "
            "Check the connection and JOTFORM_BASE_URL, then run it again."
        )

    def test_each_retry_is_a_warning_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        with Scripted([Reply({"message": "busy"}, 503), USER]) as server, caplog.at_level(logging.DEBUG):
            jotform(server).user()
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert "Jotform, GET /user: answered 503" in warnings[0]
        assert "Trying again" in warnings[0]

    def test_a_retry_prints_nothing_to_standard_output(self, capsys: pytest.CaptureFixture[str]) -> None:
        with Scripted([Reply({"message": "busy"}, 503), USER]) as server:
            jotform(server).user()
        assert capsys.readouterr().out == ""

    def test_a_write_that_got_no_clear_answer_is_not_called_undone(self) -> None:
        with Scripted([Reply({"message": "oops"}, 500)]) as server, pytest.raises(ApiError) as caught:
            givebutter(server).tags_add(7, ["a"])
        assert "Whether Givebutter did it is not known; it is safe to do it again" in str(caught.value)


class TestRetryAfter:
    def test_seconds_are_waited_for(self) -> None:
        with Scripted([Reply({"message": "slow"}, 429, {"Retry-After": "1"}), USER]) as server:
            start = time.monotonic()
            jotform(server).user()
        assert time.monotonic() - start >= 1

    def test_a_date_is_waited_for(self) -> None:
        until = datetime.now(UTC) + timedelta(seconds=2)
        slow = Reply({"message": "slow"}, 429, {"Retry-After": format_datetime(until, usegmt=True)})
        with Scripted([slow, USER]) as server:
            jotform(server).user()
        assert datetime.now(UTC) >= until.replace(microsecond=0)

    def test_a_wait_that_is_too_long_is_told_instead(self) -> None:
        hour = Reply({"message": "slow"}, 429, {"Retry-After": "3600"})
        with Scripted([hour, USER]) as server:
            client = jotform(server)
            with pytest.raises(ApiError, match="asks for a pause of 60 minutes: run it again after that") as caught:
                client.user()
        assert client.calls == 1
        assert caught.value.retry_after == timedelta(hours=1) > LONGEST_WAIT

    @pytest.mark.parametrize(
        ("header", "wait"),
        [
            ("30", timedelta(seconds=30)),
            (" 0 ", timedelta(0)),
            ("Wed, 01 Oct 2025 12:01:00 GMT", timedelta(minutes=1)),
            ("Wed, 01 Oct 2025 11:00:00 GMT", timedelta(0)),
            ("Wed, 01 Oct 2025 12:00:10 -0000", timedelta(seconds=10)),
            ("9" * 40, timedelta.max),
            ("soon", None),
            ("-5", None),
            ("", None),
            (None, None),
        ],
    )
    def test_reading_the_header(self, header: str | None, wait: timedelta | None) -> None:
        assert wait_asked_for(header, NOW) == wait


@pytest.mark.usefixtures("no_waiting")
class TestAnswersThatAreNone:
    @pytest.mark.parametrize(
        ("reply", "words"),
        [
            (Reply([1, 2]), "without content, with a list"),
            (Reply({"hello": 1}), "an object of hello"),
        ],
    )
    def test_json_that_is_no_answer_is_an_error_at_once(self, reply: Reply, words: str) -> None:
        with Scripted([reply, USER]) as server:
            client = jotform(server)
            with pytest.raises(ApiError, match=f"Jotform, GET /user.*{words}.*Nothing was written.*JOTFORM_BASE_URL"):
                client.user()
        assert client.calls == 1

    @pytest.mark.parametrize(
        ("reply", "words"),
        [
            (Reply(SIGN_IN, headers={"content-type": "text/html"}), 'a web page \\("Sign in"\\)'),
            (Reply(b"<h1>Sorry</h1> <p>busy", headers={"content-type": "text/html"}), 'a web page \\("Sorry busy"\\)'),
            (Reply(b'{"responseCode":200,"content":[{"id"'), "no complete JSON"),
            (Reply(b""), "nothing in it"),
            (Reply(b"", 204), "nothing in it"),
        ],
    )
    def test_what_is_no_json_is_asked_for_again(self, reply: Reply, words: str) -> None:
        with Scripted([reply, USER]) as server:
            client = jotform(server)
            assert client.user() == {"username": "office"}
        assert client.retries == 1
        with Scripted([reply]) as server:
            client = jotform(server)
            with pytest.raises(ApiError, match=f"Jotform, GET /user.*{words}.*Nothing was written.*JOTFORM_BASE_URL"):
                client.user()
        assert client.calls == TRIES

    @pytest.mark.parametrize("encoding", ["", "gzip"])
    def test_an_answer_that_is_far_too_large_is_left(self, encoding: str) -> None:
        endless = b'{"content": "' + bytes(2 * http.LARGEST_ANSWER)
        reply = Reply(gzip.compress(endless, 1), headers={"content-encoding": encoding}) if encoding else Reply(endless)
        with Scripted([reply]) as server:
            client = jotform(server)
            tracemalloc.start()
            try:
                with pytest.raises(ApiError) as caught:
                    client.user()
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert str(caught.value) == (
            "Jotform, GET /user: answered with more than 100 MB, which was not read. Nothing was written. That is no "
            "answer of the Jotform API: check JOTFORM_BASE_URL."
        )
        assert not caught.value.retryable
        assert client.calls == 1
        assert peak < 2 * http.LARGEST_ANSWER

    def test_an_answer_as_large_as_there_can_be_is_read(self) -> None:
        filled = b'{"content": {"username": "' + b"x" * (http.LARGEST_ANSWER - 29) + b'"}}'
        assert len(filled) == http.LARGEST_ANSWER
        with Scripted([Reply(gzip.compress(filled, 1), headers={"content-encoding": "gzip"})]) as server:
            assert len(jotform(server).user()["username"]) == http.LARGEST_ANSWER - 29

    def test_an_answer_that_is_packed_twice_is_not_unpacked(self) -> None:
        packed = gzip.compress(gzip.compress(b'{"content": {}}'))
        with Scripted([Reply(packed, headers={"content-encoding": "gzip, gzip"})]) as server:
            with pytest.raises(ApiError, match=r"no usable answer.*'gzip, gzip', which nobody asked for"):
                jotform(server).user()
            assert {asked.headers["accept-encoding"] for asked in server.asked} == {"gzip"}

    def test_broken_data_is_not_shown_for_people_are_in_it(self) -> None:
        broken = Reply(b'{"content":[{"answer":"Ada Alder"')
        with Scripted([broken]) as server, pytest.raises(ApiError) as caught:
            jotform(server).user()
        assert "Ada" not in str(caught.value)


@pytest.mark.usefixtures("no_waiting")
class TestSecrets:
    @pytest.mark.parametrize("service", ["jotform", "givebutter"])
    def test_the_key_shows_up_nowhere(self, service: str, caplog: pytest.LogCaptureFixture) -> None:
        """Not even when the service says it back, in a message, a page or a redirect."""
        faults = [
            Reply({"message": f"bad key {KEY}", "errors": {"key": [KEY]}}, 500),
            Reply({"message": f"bad key {KEY}"}, 400),
            Reply(f"<p>{KEY}</p>".encode(), headers={"content-type": "text/html"}),
            Reply(b"", 302, {"Location": f"http://other.example.org/?key={KEY}"}),
            Reply({"data": [], "meta": KEY, "content": [KEY], KEY: 1}),
            Reply({"data": [{KEY: 1}], "meta": {}, "content": {KEY: 1}}),
            Reply({"data": [{"id": f"Bearer {KEY}"}], "meta": {"total": 1, "last_page": 1}, "content": [KEY]}),
            Reply({"data": [], "meta": {"total": KEY, "last_page": 1}, "content": [KEY]}),
            Reply(b"", 302, {"Location": f"http://other.example.org:{KEY}/"}),
        ]
        shown = []
        for fault in faults:
            with Scripted([fault]) as server, caplog.at_level(logging.INFO):
                client = jotform(server) if service == "jotform" else givebutter(server)
                with pytest.raises(MentorPipelineError) as caught:
                    _ = client.submissions("1") if isinstance(client, JotformResource) else client.contacts()
                shown += [
                    repr(caught.value),
                    # All that Dagster stores, with what the error came from.
                    serializable_error_info_from_exc_info((caught.type, caught.value, caught.tb)).to_string(),
                    repr(client),
                    str(client),
                    repr(client._api),
                    server.asked[0].path,
                    str(server.asked[0].query),
                ]
        assert len(caplog.records) > 0
        assert not [text for text in (*shown, caplog.text) if KEY in text]

    def test_the_key_goes_in_its_header(self) -> None:
        with Scripted([USER]) as server:
            jotform(server).user()
            assert server.asked[-1].headers["apikey"] == KEY
        with Scripted([Reply({"data": [], "meta": {"total": 0, "last_page": 1}})]) as server:
            givebutter(server).contacts()
            assert server.asked[-1].headers["authorization"] == f"Bearer {KEY}"
            assert server.asked[-1].headers["user-agent"].startswith("mentor-pipeline/")

    def test_another_host_gets_no_call(self) -> None:
        with Scripted([USER]) as other, Scripted([Reply(b"", 301, {"Location": f"{other.url}/user"})]) as server:
            with pytest.raises(ApiError, match=f"It points to {other.url}/user.*JOTFORM_BASE_URL"):
                jotform(server).user()
            assert other.asked == []

    def test_a_host_whose_certificate_nobody_knows_gets_no_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate, authority = trusted(tmp_path)
        with Encrypted(certificate) as server:
            for client in (jotform(server), givebutter(server)):
                with pytest.raises(ApiError, match=r"no usable answer.*certificate verify failed.*_BASE_URL"):
                    _ = client.user() if isinstance(client, JotformResource) else client.contact(1)
            assert server.asked == []
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            assert jotform(server).user() == {"username": "office"}

    @pytest.mark.parametrize(("key", "fault"), [("", "is empty"), ("  ", "is empty"), (f"{KEY}\nX: 1", "no key has")])
    def test_an_unusable_key_is_not_shown_either(self, key: str, fault: str) -> None:
        with pytest.raises(ConfigError, match=f"JOTFORM_API_KEY.*{fault}") as caught:
            JotformResource(api_key=key, base_url="http://127.0.0.1:1").user()
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "api.jotform.com",
            "ftp://x.example.org",
            "https://me:s3cret@x.example.org",
            "https://x.example.org/?apiKey=s3cret",
            "http://x.example.org",
            "http://127.0.0.1.example.org",
            "http://10.0.0.1:8600/jotform",
            "HTTP://api.jotform.com",
        ],
    )
    def test_an_unusable_address(self, url: str) -> None:
        with pytest.raises(ConfigError, match=r"JOTFORM_BASE_URL is.*expected") as caught:
            JotformResource(api_key=KEY, base_url=url).user()
        assert "s3cret" not in str(caught.value)

    def test_an_address_without_encryption_is_refused_for_the_key(self) -> None:
        for client in (
            JotformResource(api_key=KEY, base_url="http://api.example.org"),
            GivebutterResource(api_key=KEY, base_url="http://api.example.org"),
        ):
            with pytest.raises(ConfigError, match=r"_BASE_URL is 'http://api\.example\.org': expected https://"):
                _ = client.user() if isinstance(client, JotformResource) else client.contact(1)

    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "LOCALHOST"])
    def test_a_simulator_on_this_machine_needs_none(self, host: str) -> None:
        assert str(checked_url(f"http://{host}:8600/jotform", setting="JOTFORM_BASE_URL")).endswith(":8600/jotform")

    def test_nor_does_an_address_to_which_no_key_goes(self) -> None:
        assert checked_url("http://office.example.org", setting="UI_URL", gets_key=False).host == "office.example.org"

    def test_terminal_escapes_are_taken_out(self) -> None:
        evil = "\x1b[31mred\x1b[0m\x1b]0;title\x07 \x9b31m\u202ereversed\nnext" + "x" * 500
        with Scripted([Reply({"message": evil}, 400)]) as server, pytest.raises(ApiError) as caught:
            jotform(server).user()
        message = str(caught.value)
        assert message.isprintable()
        assert '("red 31mreversed next' in message
        assert len(message) < 500

    def test_a_key_with_control_characters_between_is_taken_out_too(self) -> None:
        assert printable("the s3\x1b[1mcr\x00et is", secret="s3cret") == "the [key] is"

    @given(st.text(), st.text(alphabet="abc", min_size=1, max_size=5))
    def test_printable_is_one_short_line_without_the_secret(self, text: str, secret: str) -> None:
        shown = printable(f"{text}{secret}{text}", secret=secret)
        assert shown.isprintable()
        assert len(shown) <= 200
        assert secret not in shown.replace("[key]", "")


class TestPacing:
    def test_calls_are_spread_evenly(self) -> None:
        with Scripted([Reply({"data": [], "meta": {"total": 0, "last_page": 1}})]) as server:
            client = givebutter(server, requests_per_second=20)
            start = time.monotonic()
            for _ in range(5):
                client.contacts()
        assert time.monotonic() - start >= 4 / 20 * 0.9

    @pytest.mark.usefixtures("no_waiting")
    def test_tries_are_paced_too(self) -> None:
        with Scripted([Reply({"message": "busy"}, 503)]) as server:
            start = time.monotonic()
            with pytest.raises(ApiError):
                givebutter(server, requests_per_second=20).contacts()
        assert time.monotonic() - start >= (TRIES - 1) / 20 * 0.9


class TestInDagster:
    def test_the_key_comes_from_the_environment_and_one_client_serves_a_run(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JOTFORM_API_KEY", KEY)
        seen: list[int] = []

        @dg.asset
        def first(jotform: JotformResource) -> None:
            jotform.user()
            seen.append(jotform.calls)

        @dg.asset(deps=[first])
        def second(jotform: JotformResource) -> None:
            jotform.user()
            seen.append(jotform.calls)

        with Scripted([USER]) as server:
            resource = JotformResource(api_key=dg.EnvVar("JOTFORM_API_KEY"), base_url=server.url)
            assert dg.materialize([first, second], resources={"jotform": resource}).success
            assert resource.user() == {"username": "office"}  # also without Dagster
            assert {asked.headers["apikey"] for asked in server.asked} == {KEY}
        assert seen == [1, 2]
        assert KEY not in repr(resource)
