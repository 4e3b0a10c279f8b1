from tests.dagster.conftest import (
    BOTH,
    _close_hosts,
    any_bench,
    bench,
    cluster,
    cluster_bench,
    instance,
    local,
    payloads,
    slurm,
)

__all__ = [
    "BOTH",
    "_close_hosts",
    "any_bench",
    "bench",
    "cluster",
    "cluster_bench",
    "instance",
    "local",
    "payloads",
    "slurm",
]
