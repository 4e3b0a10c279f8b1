"""``login`` and ``logout``; with real hosts they are in tests/transport and tests/conformance/test_logins.py."""

from __future__ import annotations

import uuid

import pytest

from tests.cli.conftest import invoke


@pytest.fixture
def nowhere() -> str:
    """A host that nobody tried before: refusals are remembered."""
    return f"no-such-host-{uuid.uuid4().hex[:8]}.invalid"


def test_nobody_is_there(nowhere: str) -> None:
    printed = invoke("login", nowhere, code=1).output
    assert f"The connection to {nowhere} was not opened" in printed
    assert "What to do:" in printed
    assert "Traceback" not in printed


def test_no_connection_to_close(nowhere: str) -> None:
    assert f"{nowhere} is open" in invoke("logout", nowhere).output


@pytest.mark.parametrize("command", ["login", "logout"])
def test_a_host_is_needed(command: str) -> None:
    assert "Missing argument 'HOST'" in invoke(command, code=2).output
