"""What is hidden in texts from elsewhere, and what stays readable."""

from __future__ import annotations

import pytest

from mentor_pipeline.redaction import SECRET_SETTINGS, known_secrets, passwords_in, shown_command, without_secrets
from mentor_pipeline.settings import DATABASE_URL, Settings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to postgresql://ada:e@db/m failed", "to postgresql://***@db/m failed"),
        ("amqp://ada:a/b@c@broker//", "amqp://***@broker//"),
        ("host=db password=geheim user=ada", "host=db password=*** user=ada"),
        ("host=db PASSWORD = 'ge heim' user=ada", "host=db PASSWORD = *** user=ada"),
        ("postgresql://db/m?sslpassword=geheim&host=x", "postgresql://db/m?sslpassword=***&host=x"),
        ("https://example.org/a and ada@example.org", "https://example.org/a and ada@example.org"),
    ],
)
def test_credentials_are_hidden_where_they_stand(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("e", "Failed to connect: netloc 'ada:e@db'", "Failed to connect: netloc 'ada:***@db'"),
        ("connect", "cannot connect; was connected", "cannot ***; was connected"),
        ("s3cret%20words", "said 's3cret words', s3cret%20words", "said '***', ***"),
        ("s3cret words", "sent s3cret%20words", "sent ***"),
        ("ge\\heim7", repr("ge\\heim7"), "'***'"),
        ("Geheim／7", ascii("Geheim／7"), "'***'"),
        ("a-long-random-key", "xa-long-random-keyx", "x***x"),
    ],
)
def test_a_secret_is_hidden_in_every_way_to_write_it(secret: str, text: str, shown: str) -> None:
    assert without_secrets(text, [secret]) == shown


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("postgresql://ada:pw@db/m", {"pw"}),
        ("postgresql://ada:p/w@x@db/m?sslpassword=other&host=x", {"p/w@x", "other"}),
        ("ada:pw@db", {"pw"}),
        ("postgresql://ada@db/m", set()),
        ("postgresql:///m?host=%2Fvar", set()),
    ],
)
def test_passwords_are_found_in_urls_that_are_none_too(url: str, passwords: set[str]) -> None:
    assert passwords_in(url) == passwords


def test_of_a_url_on_the_command_line_only_the_scheme_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["mentor-pipeline", "migrate", "--to", "postgresql://ada:Gehe[im 99@db/m", "--to=postgres://ada:7", "--yes"]
    assert shown_command(words) == "mentor-pipeline migrate --to postgresql://*** --to=postgres://*** --yes"
    assert shown_command(["migrate", "ada:Gehe[im 99@db/m"]) == "migrate ada:***@db/m"
    monkeypatch.setenv(DATABASE_URL, "postgresql://ada:geheim99@db/m")
    assert shown_command(["edit", "1", "geheim99"]) == "edit 1 ***"
    assert known_secrets(["--to=postgresql://ada:other@db/m"]) >= {"geheim99", "other"}


def test_every_setting_that_is_not_shown_is_known_as_a_secret() -> None:
    hidden = {f"MENTOR_PIPELINE_{name.upper()}" for name, field in Settings.model_fields.items() if not field.repr}
    assert hidden
    assert hidden <= set(SECRET_SETTINGS)
