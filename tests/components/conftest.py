from tests.clusters import cluster

__all__ = ["cluster"]
