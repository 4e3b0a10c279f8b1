"""What sacct says that jobs used: GPUs as sites with NVML or RSMI tell of them (Slurm 23.02 and newer)."""

from __future__ import annotations

import pytest

from dagster_slurm.core.observations import Row
from dagster_slurm.schedulers.slurm import Slurm

AVE = "cpu=00:00:20,energy=0,fs/disk=1255114,gres/gpumem={},gres/gpuutil={},mem=3012K,pages=0,vmem=78920K"
#: as sacct prints them where nobody gathers that
PLAIN = "cpu=00:00:00,energy=0,fs/disk=0,mem=3348K,pages=0,vmem=78920K"


def line(job: str, cpu: str, peak: str, ave: str, most: str) -> str:
    known = {"JobID": job, "State": "COMPLETED", "ExitCode": "0:0", "TotalCPU": cpu, "MaxRSS": peak}
    known |= {"TRESUsageInAve": ave, "TRESUsageInMax": most}
    return "|".join(known.get(field, "") for field in Slurm.accounting[-1].split(","))


def row(*steps: str, cpu: str = "00:02.032") -> Row:
    found = Slurm().account_row([line("187", cpu, "", "", ""), *steps], "187")
    assert found is not None
    return found


def test_gpus_are_those_of_the_step_that_used_most() -> None:
    batch = line("187.batch", "00:00.010", "3348K", PLAIN, PLAIN)
    first = line("187.0", "00:01", "3120K", AVE.format("500M", 12), AVE.format("512M", 20))
    second = line("187.1", "00:01", "3120K", AVE.format("1.5G", 95), AVE.format("2G", 99))
    facts = dict(row(batch, first, second).facts)
    assert (facts["GpuUtilisation"], facts["GpuKiB"]) == ("95.0", str(2.0 * (1 << 20)))


def test_an_idle_gpu_is_one_that_is_told_of() -> None:
    facts = dict(row(line("187.0", "00:01", "1K", AVE.format(0, 0), AVE.format(0, 0))).facts)
    assert (facts["GpuUtilisation"], facts["GpuKiB"]) == ("0.0", "0.0")


def test_where_nobody_gathers_it_nothing_is_said() -> None:
    facts = dict(row(line("187.batch", "00:00.010", "3348K", PLAIN, PLAIN)).facts)
    assert not {"GpuUtilisation", "GpuKiB"} & set(facts)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:02.032", "2.032"), ("03:04", "184.0"), ("02:03:04", "7384.0"), ("1-02:03:04", "93784.0")],
)
def test_cpu_time(text: str, seconds: str) -> None:
    assert dict(row(cpu=text).facts)["CpuSeconds"] == seconds


@pytest.mark.parametrize("text", ["", "00:00:00", "INVALID"])
def test_no_cpu_time(text: str) -> None:
    assert "CpuSeconds" not in dict(row(cpu=text).facts)
