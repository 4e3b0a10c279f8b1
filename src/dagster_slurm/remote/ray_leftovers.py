"""Removes what ended jobs left in a warm Ray cluster: detached actors and placement groups hold CPUs and names.

A driver of its own, beside the cluster's head, in the payload's environment; ends with the cluster.
"""

import importlib
import os
import signal
import sys
import time
from typing import Any, List, Set

_PAUSE = 0.3
#: seconds for a task on another node
_TASK = 30.0


class Leftovers:
    """Looks for what belongs to jobs that have ended."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._state: Any = importlib.import_module("ray._private.state").state
        self._messages: Any = importlib.import_module("ray.core.generated.gcs_pb2")
        self._worker: Any = importlib.import_module("ray._private.worker").global_worker
        self._seen: Set[str] = set()

    def remove(self) -> None:
        """Remove what is left of jobs that have ended since."""
        ended: Set[str] = {job["JobID"] for job in self._state.job_table() if job["IsDead"]}
        if ended <= self._seen:
            return
        # what a job left is not always in the tables when its end is
        for _ in range(3):
            self._actors(ended)
            self._groups(ended)
            time.sleep(_PAUSE)
        self._seen = ended

    def _actors(self, ended: Set[str]) -> None:
        for data in self._accessor().get_actor_table(None, None):
            actor = self._messages.ActorTableData.FromString(data)
            state = self._messages.ActorTableData.ActorState.Name(actor.state)
            if not actor.is_detached or state == "DEAD" or actor.job_id.hex() not in ended:
                continue
            try:
                if actor.name:
                    self._ray.kill(self._ray.get_actor(actor.name, namespace=actor.ray_namespace))
                else:
                    self._end_process(actor.address.node_id.hex(), actor.pid)
            except Exception as error:  # noqa: BLE001 - of many kinds, Ray's own; it may have died meanwhile
                _say("actor %s %s: %s" % (actor.class_name, actor.name, error))
            else:
                _say("removed actor %s %s" % (actor.class_name, actor.name))

    def _end_process(self, node: str, pid: int) -> None:
        """End an actor to which nobody has a handle any more, on its node."""
        affinity = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        at = affinity(node_id=node, soft=False)
        task = self._ray.remote(num_cpus=0, scheduling_strategy=at)(end_worker)
        self._ray.get(task.remote(pid), timeout=_TASK)

    def _groups(self, ended: Set[str]) -> None:
        for data in self._accessor().get_placement_group_table():
            group = self._messages.PlacementGroupTableData.FromString(data)
            state = self._messages.PlacementGroupTableData.PlacementGroupState.Name(group.state)
            if state != "REMOVED" and group.creator_job_id.hex() in ended:
                self._worker.core_worker.remove_placement_group(self._ray.PlacementGroupID(group.placement_group_id))
                _say("removed placement group %s" % group.name)

    def _accessor(self) -> Any:
        return self._state._connect_and_get_accessor()  # noqa: SLF001 - the public tables leave out the namespaces


def end_worker(pid: int) -> None:
    """End a worker of Ray on this node."""
    with open("/proc/%d/cmdline" % pid, "rb") as file:
        if file.read().startswith(b"ray::"):
            os.kill(pid, signal.SIGKILL)


def _say(text: str) -> None:
    sys.stderr.write("dagster-slurm: %s\n" % text.partition("\n")[0])
    sys.stderr.flush()


def main(words: List[str]) -> None:
    """Watch a cluster until it is gone."""
    ray: Any = importlib.import_module("ray")
    ray.init(address=words[0], namespace="dagster-slurm", log_to_driver=False, configure_logging=False)
    leftovers, parent = Leftovers(ray), os.getppid()
    while os.getppid() == parent:
        try:
            leftovers.remove()
        except Exception as error:  # noqa: BLE001 - of many kinds, Ray's own; a fault here must not end anything
            _say(str(error))
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main(sys.argv[1:])
