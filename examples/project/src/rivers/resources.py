"""Where assets run: as the environment says, and nothing else does."""

import os

from dagster_slurm import ComputeResource, SlurmResource, SlurmSessionResource

DEVELOPMENT, STAGING, PRODUCTION = "development", "staging", "production"


def deployment() -> str:
    """Return which of the three this is."""
    named = os.environ.get("DEPLOYMENT", DEVELOPMENT)
    if named not in (DEVELOPMENT, STAGING, PRODUCTION):
        raise ValueError(f"DEPLOYMENT={named!r}: it is {DEVELOPMENT}, {STAGING} or {PRODUCTION}")
    return named


def short() -> ComputeResource:
    """Return where assets of minutes run: in production they wait in the queue together, once."""
    if deployment() == PRODUCTION:
        session = SlurmSessionResource(
            num_nodes=int(os.environ.get("SESSION_NODES", "1")),
            time_limit=os.environ.get("SESSION_TIME", "02:00:00"),
            cpus=int(os.environ.get("SESSION_CPUS", "2")),
            mem=os.environ.get("SESSION_MEM", "2G"),
        )
        return ComputeResource(mode="slurm-session", slurm=SlurmResource.from_env(), session=session)
    return large()


def large() -> ComputeResource:
    """Return where assets run that want nodes of their own."""
    if deployment() == DEVELOPMENT:
        return ComputeResource(mode="local")
    return ComputeResource(mode="slurm", slurm=SlurmResource.from_env())
