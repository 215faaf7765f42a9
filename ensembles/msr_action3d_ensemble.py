"""Fuse the streams of MSR-Action3D and print the table beside published numbers; --help lists the options."""

import sys

from protogcn.data.benchmarks import get_benchmark
from protogcn.evaluation.ensemble_table import main

if __name__ == "__main__":
    sys.exit(main({"xsub": get_benchmark("msr_action3d"), "as": get_benchmark("msr_action3d_as")}))
