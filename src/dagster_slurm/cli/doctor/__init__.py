"""``dagster-slurm doctor``: what a cluster is like, what is in the way, and the settings that fit."""
