"""``dagster_pipes`` for a Python that may lack it: the site's own copy if there is one, else the one that travels.

This file travels as ``dagster_pipes.py`` in a folder on PYTHONPATH. That comes before the site's packages, so on import
it looks behind itself and becomes what it finds there.
"""

import importlib.machinery
import importlib.util
import os
import sys
from typing import Optional

_NAME = "dagster_pipes"


def _elsewhere(here: str) -> Optional[importlib.machinery.ModuleSpec]:
    """Return the site's own ``dagster_pipes``; a mere folder of that name does not count."""
    rest = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != here]
    spec = importlib.machinery.PathFinder.find_spec(_NAME, rest)
    return spec if spec is not None and spec.origin is not None and spec.loader is not None else None


def _bundled(here: str) -> importlib.machinery.ModuleSpec:
    spec = importlib.machinery.PathFinder.find_spec(_NAME, [os.path.join(here, "bundled")])
    if spec is None:
        raise ImportError("no dagster_pipes beside " + here, name=_NAME)
    return spec


def become() -> None:
    """Put the real module into the place of this one."""
    here = os.path.dirname(os.path.realpath(__file__))
    spec = _elsewhere(here) or _bundled(here)
    if spec.loader is None:
        raise ImportError("cannot load " + str(spec.origin), name=_NAME)
    module = importlib.util.module_from_spec(spec)
    # as the import system does it: other threads that import it meanwhile wait until it is ready
    setattr(spec, "_initializing", True)  # noqa: B010 - private, yet the only way
    sys.modules[_NAME] = module
    try:
        spec.loader.exec_module(module)
    finally:
        setattr(spec, "_initializing", False)  # noqa: B010


if __name__ == _NAME:
    become()
