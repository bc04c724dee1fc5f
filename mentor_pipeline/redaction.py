"""Taking secrets out of what is shown or logged: credentials in URLs, and the values of the settings that are secret.

For texts that this program did not write itself: a driver's words, a traceback, a command line. What it says of its own
accord holds no secret in the first place. Answers of the two services pass `resources.http.printable`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from mentor_pipeline.settings import (
    ALERT_SMTP_URL,
    ALERT_WEBHOOK,
    CELERY_BROKER,
    DATABASE_URL,
    GIVEBUTTER_KEY,
    JOTFORM_KEY,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECRET_SETTINGS: Final = (
    JOTFORM_KEY,
    GIVEBUTTER_KEY,
    ALERT_WEBHOOK,
    ALERT_SMTP_URL,
    DATABASE_URL,
    CELERY_BROKER,
    "PGPASSWORD",
    "DAGSTER_POSTGRES_PASSWORD",
)
_SHOWN: Final = "***"
_SHORT: Final = 6
"""Whatever is shorter is a part of many words: it is hidden where it can only be the password, between : and @."""
_LONG: Final = 12
"""From this length on a secret is hidden within longer words too."""
_USER_IN_URL: Final = re.compile(r"(?<=://)\S{0,1000}@")
"""To the last @: in a damaged URL the password may hold one. Bounded, since a text may be long."""
_OPTION: Final = re.compile(r"(password\s*=\s*)('[^']*'|\"[^\"]*\"|[^\s&'\"]+)", re.IGNORECASE)


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without the credentials of any URL in it, and without these secrets in any of the ways to write them."""
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        shape = re.escape(form)
        if len(form) < _SHORT:
            shape = f"(?<=:){shape}(?=@)"
        elif len(form) < _LONG:
            shape = rf"(?<![^\W_]){shape}(?![^\W_])"
        text = re.sub(shape, _SHOWN, text)
    text = _USER_IN_URL.sub(f"{_SHOWN}@", text)
    return _OPTION.sub(rf"\1{_SHOWN}", text)


def passwords_in(url: str) -> set[str]:
    """The passwords that a URL holds, as they are written there; it need not be a valid one."""
    user = (url.partition("://")[2] or url).rpartition("@")[0]
    options = (option.partition("=") for option in url.partition("?")[2].split("&"))
    return {user.partition(":")[2], *(value for name, _, value in options if unquote(name).endswith("password"))} - {""}


def known_secrets(command_line: Sequence[str] = ()) -> set[str]:
    """The values of the settings that are secret, and the passwords in them and in a command line."""
    values = {os.environ.get(name, "").strip() for name in SECRET_SETTINGS} - {""}
    return values.union(*map(passwords_in, (*values, *command_line)))


def shown_command(command_line: Sequence[str]) -> str:
    """A command line as it may be kept: of a URL the scheme only, since a damaged one may hold a password anywhere."""
    words = (re.sub(r"://.*", f"://{_SHOWN}", word, flags=re.DOTALL) for word in command_line)
    without_users = (re.sub(r":(?!//).*@", f":{_SHOWN}@", word, flags=re.DOTALL) for word in words)
    return without_secrets(" ".join(without_users), known_secrets(command_line))


def _forms(secret: str) -> set[str]:
    plain = {secret, unquote(secret)}
    encoded = {quote(one, safe="", errors="replace") for one in plain}
    return plain | encoded | {shown(one)[1:-1] for one in plain for shown in (repr, ascii)}
