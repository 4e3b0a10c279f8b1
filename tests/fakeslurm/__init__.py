"""Stand-ins for Slurm's commands, with faults that a healthy cluster does not show. See `install`."""

from .fake import Call, FakeSlurm, install

__all__ = ["Call", "FakeSlurm", "install"]
