"""A guest in a Ray cluster: says what it found there, and leaves something behind."""

import json
import os
import sys
import time
from pathlib import Path

import ray
from dagster_pipes import open_dagster_pipes
from helper_of_guests import square


@ray.remote(num_cpus=1)
class Left:
    def here(self) -> int:
        return os.getpid()


@ray.remote(num_cpus=0)
def work(number: int) -> int:
    # found beside the payload, on the workers as well
    return square(number)


with open_dagster_pipes() as pipes:
    what = pipes.extras.get("what", "")
    ray.init(log_to_driver=False, namespace=pipes.extras.get("namespace"))
    names = [item["name"] for item in ray.util.list_named_actors(all_namespaces=True)]
    deadline = time.time() + 30
    while what == "alone" and ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.time() < deadline, ray.available_resources()
        time.sleep(0.1)
    pipes.report_asset_materialization(
        metadata={
            "address": os.environ["RAY_ADDRESS"],
            "found": names,
            "job": ray.get_runtime_context().get_job_id(),
            "sum": sum(ray.get([work.remote(number) for number in range(4)])),
            "cpus": int(ray.cluster_resources()["CPU"]),
        }
    )
    assert square(3) == 9
    if what in ("leave", "fail", "wait"):
        named = Left.options(name="left", lifetime="detached").remote()
        unnamed = Left.options(lifetime="detached").remote()
        ray.get([named.here.remote(), unnamed.here.remote()])
    if what == "fail":
        sys.exit(5)
    if what == "wait":
        place = Path(pipes.extras["folder"])
        (place / "begun").write_text(json.dumps({"pid": os.getpid()}))
        time.sleep(100)
