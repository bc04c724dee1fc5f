from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stamina

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """As many tries as ever, without the waits between them."""
    with stamina.set_testing(True, attempts=100, cap=True):
        yield
