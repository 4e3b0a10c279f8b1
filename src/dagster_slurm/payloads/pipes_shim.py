"""``dagster_pipes`` comes with every run, for Pythons on the target that lack it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..errors import ConfigurationError
from .bundle import Bundle

_REMOTE = Path(__file__).parent.parent / "remote"


def pipes_bundle() -> Bundle:
    """Return a folder for the end of PYTHONPATH: the shim, and beside it the ``dagster_pipes`` installed here."""
    folder = _installed()
    sources = {f"bundled/dagster_pipes/{file.relative_to(folder).as_posix()}": file for file in folder.rglob("*.py")}
    sources["dagster_pipes.py"] = _REMOTE / "pipes_shim.py"
    sources["bundled/pipes_on_old_python.py"] = _REMOTE / "pipes_on_old_python.py"
    sources["bundled/meter.py"] = _REMOTE / "meter.py"
    sources["bundled/results.py"] = _REMOTE / "results.py"
    return Bundle.from_files(sources)


def _installed() -> Path:
    """Return where ``dagster_pipes`` is installed here, without importing it."""
    spec = importlib.util.find_spec("dagster_pipes")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise ConfigurationError("dagster_pipes is not installed beside dagster", hint="pip install dagster-pipes")
    return Path(places[0])
