"""A real all-reduce over all ranks: torch with gloo, or MPI."""

import os

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    node = os.environ.get("SLURMD_NODENAME", "here")
    if pipes.extras["with"] == "torch":
        import torch
        import torch.distributed as dist

        dist.init_process_group("gloo")
        rank, world = dist.get_rank(), dist.get_world_size()
        value = torch.ones(1000) * (rank + 1)
        dist.all_reduce(value)
        total = float(value[-1])
        nodes = [None] * world
        dist.all_gather_object(nodes, node)
        dist.destroy_process_group()
    else:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
        rank, world = comm.rank, comm.size
        assert (rank, world) == (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        total = float(comm.allreduce(rank + 1))
        nodes = comm.allgather(node)
    pipes.report_asset_materialization(metadata={"total": total, "world": world, "nodes": sorted(map(str, nodes))})
