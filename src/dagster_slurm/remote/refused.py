"""How a request says that it cannot be carried out."""

import os
from typing import Any, Dict

from . import rundir


class Refused(Exception):
    """A request that cannot be carried out: a kind that the client knows, and facts."""

    def __init__(self, kind: str, text: str, **facts: Any) -> None:
        super().__init__(text)
        self.answer: Dict[str, Any] = dict(facts, kind=kind, text=text)


class Ending(Exception):
    """We are about to end: the request is left to the next agent, and not answered."""


def check_base(base: str) -> None:
    """Make a base folder, or refuse one that cannot be used."""
    try:
        rundir.make_private(base)
    except OSError as error:
        raise Refused("storage", error.strerror or str(error), errno=error.errno, path=base)  # noqa: B904
    if not os.access(base, os.W_OK | os.X_OK):
        raise Refused("storage", "not writable", errno=13, path=base)
