"""`sinfo`: partitions and nodes, all of them idle."""

from __future__ import annotations

import sys

from . import text
from .columns import parse
from .options import Grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .state import State

OPTIONS = """
a all
M clusters=
d dead
e exact
O Format=
o format=
help
hide
i iterate=
json
local
l long
n nodes=
N Node
h noheader
p partition=
r responding
R list-reasons
S sort=
s summarize
t states=
V version
v verbose
"""
HEADERS = {
    "P": "PARTITION",
    "R": "PARTITION",
    "a": "AVAIL",
    "l": "TIMELIMIT",
    "D": "NODES",
    "t": "STATE",
    "T": "STATE",
    "N": "NODELIST",
    "c": "CPUS",
    "m": "MEMORY",
    "G": "GRES",
    "f": "AVAIL_FEATURES",
    "C": "CPUS(A/I/O/T)",
}
DEFAULT = "%9P %.5a %.10l %.6D %.6t %N"


def run(state: State, argv: list[str], _: dict[str, Any]) -> int:
    options = dict(Grammar("sinfo", OPTIONS).parse(argv)[0])
    settings = state.config
    pieces = parse(options.get("format", DEFAULT))
    wanted = options.get("partition", "").split(",")
    lines = [] if "noheader" in options else [HEADERS]
    for index, name in enumerate(settings["partitions"]):
        if wanted != [""] and name not in wanted:
            continue
        cpus = settings["nodes"] * settings["cpus_per_node"]
        values = {
            "P": name + ("*" if index == 0 else ""),
            "R": name,
            "a": "up",
            "l": "infinite",
            "D": str(settings["nodes"]),
            "t": "idle",
            "T": "idle",
            "N": text.node_list(settings["nodes"]),
            "c": str(settings["cpus_per_node"]),
            "m": str(settings["mem_per_node"]),
            "G": "(null)",
            "f": "(null)",
            "C": f"0/{cpus}/0/{cpus}",
        }
        lines.append(values)
    for values in lines:
        sys.stdout.write("".join(piece.render(values.get(piece.letter, "")) for piece in pieces) + "\n")
    return 0
