"""Starts the keeper of a cluster from the folder in which this lies: ``python3 -I -S -B main.py ...``."""

import importlib
import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    # the package has this name where it runs
    importlib.import_module("keeper.cluster_keeper").main()
