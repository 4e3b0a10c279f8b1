"""Lists of nodes, compared with what scontrol makes of them."""

from __future__ import annotations

import pytest

from dagster_slurm.core.nodelist import names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", []),
        ("node1", ["node1"]),
        ("node[1-3]", ["node1", "node2", "node3"]),
        ("node[1-2,7],gpu4", ["node1", "node2", "node7", "gpu4"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("a-b[3]-ib,c", ["a-b3-ib", "c"]),
    ],
)
def test_names(text: str, told: list[str]) -> None:
    assert names(text) == told
