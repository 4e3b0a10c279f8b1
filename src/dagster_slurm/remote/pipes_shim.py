"""``dagster_pipes`` for a Python that may lack it: the site's own copy if there is one, else the one that travels.

This file travels as ``dagster_pipes.py`` in a folder on PYTHONPATH. That comes before the site's packages, so on import
it looks behind itself and becomes what it finds there.
"""

import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any, Dict, List, Optional

_NAME = "dagster_pipes"


def _look(name: str, folders: List[str]) -> Optional[importlib.machinery.ModuleSpec]:
    """Return what is found in folders; a mere folder of that name does not count."""
    spec = importlib.machinery.PathFinder.find_spec(name, folders)
    return spec if spec is not None and spec.origin is not None and spec.loader is not None else None


def _elsewhere(here: str) -> Optional[importlib.machinery.ModuleSpec]:
    return _look(_NAME, [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != here])


def _bundled(here: str) -> importlib.machinery.ModuleSpec:
    bundled = os.path.join(here, "bundled")
    spec = _look(_NAME, [bundled])
    if spec is None:
        raise ImportError("no dagster_pipes beside " + here, name=_NAME)
    older = _look("pipes_on_old_python", [bundled]) if sys.version_info < (3, 10) else None
    if older is not None:
        spec.loader = _run(older).Loader(_NAME, spec.origin)
    return spec


def _run(spec: importlib.machinery.ModuleSpec) -> Any:
    module = importlib.util.module_from_spec(spec)
    if spec.loader is not None:
        spec.loader.exec_module(module)
    return module


def become(module: ModuleType) -> None:
    """Turn this module into the real one: the same object, since other threads may have got hold of it by now."""
    here = os.path.dirname(os.path.realpath(__file__))
    spec = _elsewhere(here) or _bundled(here)
    loader = spec.loader
    if loader is None:
        raise ImportError("cannot load " + str(spec.origin), name=_NAME)
    setattr(spec, "_initializing", True)  # noqa: B010 - private; makes those threads wait, as in any import
    new: Dict[str, Any] = {"__spec__": spec, "__loader__": loader, "__file__": spec.origin, "__cached__": spec.cached}
    new["__package__"] = spec.parent
    if spec.submodule_search_locations is not None:
        new["__path__"] = spec.submodule_search_locations
    for name in [name for name in module.__dict__ if not name.startswith("__")]:
        delattr(module, name)  # from here on, nothing of this file can be used any more
    module.__dict__.update(new)
    try:
        loader.exec_module(module)
    finally:
        setattr(spec, "_initializing", False)  # noqa: B010


if __name__ == _NAME:
    become(sys.modules[_NAME])
