"""Resources that refuse fields they do not know: Dagster's own drop them without a word."""

from __future__ import annotations

from typing import Any

from dagster_slurm.core import former
from dagster_slurm.errors import ConfigurationError


class FormerMethod(ConfigurationError, AttributeError):
    """A method of dagster-slurm 1.x; ``hasattr`` takes it for missing."""


class KnownFields:
    """Put before Dagster's class: a misspelled or former field is an error that says what to write."""

    def __init__(self, **given: Any) -> None:
        former.refuse_fields(type(self).__name__, given, type(self).model_fields)  # type: ignore[attr-defined]
        super().__init__(**given)

    def __getattr__(self, name: str) -> Any:
        """Say what to call instead of a former method."""
        for kind in type(self).__mro__:
            instead = former.METHODS.get(kind.__name__, {}).get(name)
            if instead is not None:
                raise FormerMethod(f"{kind.__name__} has no {name!r} any more", hint=instead)
        return super().__getattr__(name)  # type: ignore[misc]
