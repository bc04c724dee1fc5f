"""The one exception hierarchy.

Raised close to the cause, caught at the edge (CLI, Dagster op, sensor). Every message is written for an
operator: what happened, to whom, what was left untouched, what to do next. What it quotes (names of files, cells) is
made harmless here, so that wherever the message is printed, logged or kept, it steers no terminal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path


_STEERING: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, the beginning of every terminal escape among them, and what turns the direction of writing."""


def steering_nothing(text: str) -> str:
    """A text with foreign words in it, with a sign in the place of each character that would steer a terminal."""
    return _STEERING.sub("\ufffd", text)


class MentorPipelineError(Exception):
    """Base of every error that this package raises on purpose. The message is for an operator."""

    def __str__(self) -> str:
        """The message, as it may be printed."""
        return steering_nothing(super().__str__())


class ConfigError(MentorPipelineError):
    """Settings or a year file are wrong; nothing was read or changed."""


class WrongUseError(ConfigError):
    """A command was given something that there is not: a type, a status, a folder; nothing was begun."""


class ApiError(MentorPipelineError):
    """A service answered with an error, or not at all.

    Attributes:
        retryable: True when the same call may succeed later (408, 429, 5xx, transport).
        status: HTTP status, or None when there was no answer.
        retry_after: how long the service asked us to wait, if it did.
    """

    def __init__(
        self, message: str, *, retryable: bool, status: int | None = None, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.status = status
        self.retry_after = retry_after


class SourceShrankError(MentorPipelineError):
    """A source that is read whole suddenly returned far fewer rows (R12); nothing was written."""


class FileRejectedError(MentorPipelineError):
    """A dropped file cannot be imported; nothing of it was written."""


class WarehouseError(MentorPipelineError):
    """The warehouse cannot be opened, read or written."""


class WarehouseBusyError(WarehouseError):
    """Another process holds the warehouse; the message says which and since when."""


class WarehouseDamagedError(WarehouseError):
    """The warehouse's file is damaged, or no database at all; it was left as it is.

    Attributes:
        path: the file.
    """

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class DecisionRefusedError(MentorPipelineError):
    """A person's decision or edit is not possible; nothing was written."""


class ExportRefusedError(MentorPipelineError):
    """No import file was written (contact data too old, unwritable folder, ...)."""


class BackupError(MentorPipelineError):
    """A backup cannot be written, read or put back; the tables are as they were."""


class AlertLostError(MentorPipelineError):
    """An alert reached nobody: neither the alert log, nor the webhook, nor the mail server took it."""
