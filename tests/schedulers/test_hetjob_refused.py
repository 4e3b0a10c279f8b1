"""What tells a cluster that takes no heterogeneous jobs from one that does not take this one."""

from __future__ import annotations

import pytest

from dagster_slurm.errors import HeterogeneousJobRefused, SubmissionRefused
from dagster_slurm.schedulers.scheduler import SubmitAnswer
from dagster_slurm.schedulers.slurm import Slurm
from tests.schedulers.test_slurm import RECORDED, REFUSALS, RELEASES


def refused_together(text: str, components: int = 2) -> object:
    return Slurm().refusal(SubmitAnswer(text, 1, "sbatch", {}, components))


@pytest.mark.parametrize("release", RELEASES)
def test_a_cluster_that_takes_no_heterogeneous_jobs(release: str) -> None:
    text = (RECORDED / release / "hetjob.refused").read_text()
    error = refused_together(text)
    assert isinstance(error, HeterogeneousJobRefused)
    assert "compute.run" in str(error)
    assert 'mode="slurm-session"' in str(error)
    assert type(refused_together(text, components=1)) is SubmissionRefused


@pytest.mark.parametrize(
    "text",
    [
        "sbatch: error: Heterogeneous jobs are not allowed on this cluster.",
        "sbatch: error: hetjobs are disabled",
        "sbatch: error: het job submission is currently not supported here",
        "sbatch: error: This site does not support heterogeneous jobs, ask the help desk",
        "sbatch: error: No hetjobs in the partition gpu, please",
    ],
)
def test_a_sites_own_words_against_heterogeneous_jobs(text: str) -> None:
    assert isinstance(refused_together(text), HeterogeneousJobRefused)


@pytest.mark.parametrize(
    "text",
    [
        "sbatch: error: Batch job submission failed: Multiple partition job request not supported when a partition is "
        "set in the association",
        "sbatch: error: Batch job submission failed: Requested operation is presently disabled",
        "sbatch: error: Heterogeneous job component 1: the account is not allowed to use partition gpu",
        "sbatch: error: hetjob component 0: --gres type not supported",
        "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
    ],
)
def test_a_component_that_is_refused_for_what_it_asks(text: str) -> None:
    assert type(refused_together(text)) is SubmissionRefused


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("what", [what for what, (kind, _) in REFUSALS.items() if kind is SubmissionRefused])
def test_other_refusals_are_no_refusal_of_heterogeneous_jobs(release: str, what: str) -> None:
    text = (RECORDED / release / f"refused.{what}").read_text()
    assert text.startswith("accepted") or type(refused_together(text)) is SubmissionRefused
