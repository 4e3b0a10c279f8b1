from tests.clusters import cluster, make_cluster

__all__ = ["cluster", "make_cluster"]
