"""Secrets, which Dagster would show and store with the rest of a resource's configuration: it is given a stand-in."""

from __future__ import annotations

from secrets import token_hex

_PREFIX = "hidden by dagster-slurm "
#: by stand-in; each process makes its own when it loads the definitions
_secrets: dict[str, str] = {}


def hide(text: str) -> str:
    """Return a stand-in for a secret; for a stand-in, itself."""
    if text in _secrets:
        return text
    known = next((name for name, value in _secrets.items() if value == text), None)
    name = known or _PREFIX + token_hex(4)
    _secrets[name] = text
    return name


def reveal(text: str | None) -> str | None:
    """Return the secret that a stand-in stands for; any other text as it is."""
    return None if text is None else _secrets.get(text, text)
