"""A real Slurm on one Debian host, without containers: nodes, accounting, and a login node with sshd."""

from testcluster.cluster import Cluster, down, load, up
from testcluster.execute import ClusterError
from testcluster.layout import names
from testcluster.options import ClusterOptions

__all__ = ["Cluster", "ClusterError", "ClusterOptions", "down", "load", "names", "up"]
