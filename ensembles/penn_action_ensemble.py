"""Fuse the streams of Penn Action and print the table beside published numbers; --help lists the options."""

import sys

from protogcn.data.benchmarks import get_benchmark
from protogcn.evaluation.ensemble_table import main

if __name__ == "__main__":
    sys.exit(main({"test": get_benchmark("penn_action")}))
