"""A driver that has a Ray cluster do one thing."""

import ray


@ray.remote
def square(number: int) -> int:
    return number * number


ray.init(log_to_driver=False)
assert ray.get(square.remote(7)) == 49
