"""What runs behind the fake `sbatch`, `squeue` and so on: standard library only, Python 3.8, quick."""
