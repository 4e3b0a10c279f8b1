"""Builds an environment in a job of its own; runs on a compute node, from the folder of the order."""

import json
import os
import platform
import sys
import traceback
from typing import Any, Dict

from . import built, rundir
from .refused import Refused

ORDER, RESULT, NODE = "order.json", "result.json", "node"


def main() -> None:
    """Carry out the order in the current folder, and leave a result."""
    order = json.loads(rundir.read_text(ORDER))
    rundir.write_whole(NODE, platform.node().encode())
    rundir.write_whole(RESULT, json.dumps(_result(order["base"], order["order"])).encode())


def _result(base: str, order: Dict[str, Any]) -> Dict[str, Any]:
    try:
        return {"ok": built.build(base, order)}
    except built.NotBuilt as error:
        return {"kind": "build", "text": str(error), "facts": error.facts}
    except Refused as error:
        facts = {name: value for name, value in error.answer.items() if name not in ("kind", "text")}
        return {"kind": error.answer["kind"], "text": str(error), "facts": facts}
    except OSError as error:
        path = os.fsdecode(error.filename) if error.filename else None
        return {
            "kind": "storage",
            "text": error.strerror or str(error),
            "facts": {"errno": error.errno, "path": path},
        }
    except rundir.Locked as error:
        return {"kind": "build", "text": "another process holds %s" % error, "facts": {}}
    except Exception as error:  # noqa: BLE001 - a fault of ours must reach the person at the other end, not a log here
        sys.stderr.write(traceback.format_exc())
        return {"kind": "internal", "text": repr(error), "facts": {"trace": traceback.format_exc()}}
