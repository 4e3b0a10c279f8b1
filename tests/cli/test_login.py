"""``login`` and ``logout``; what they do with a real host is in tests/transport and tests/conformance/test_logins.py."""

from __future__ import annotations

import pytest

from tests.cli.conftest import invoke


def test_nobody_is_there_to_log_in_to() -> None:
    printed = invoke("login", "no-such-host.invalid", code=1).output
    assert "no-such-host.invalid" in printed
    assert "What to do:" in printed
    assert "Traceback" not in printed


def test_no_connection_to_close() -> None:
    assert "No connection of ours to" in invoke("logout", "no-such-host.invalid").output


@pytest.mark.parametrize("command", ["login", "logout"])
def test_a_host_is_needed(command: str) -> None:
    assert "Missing argument 'HOST'" in invoke(command, code=2).output
