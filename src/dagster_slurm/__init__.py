"""Run the same Dagster asset on a laptop and on a Slurm supercomputer."""
