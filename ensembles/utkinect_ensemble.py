"""Fuse the streams of UTKinect-Action3D and print the table beside published numbers; --help lists the options."""

import sys

from protogcn.data.benchmarks import get_benchmark
from protogcn.evaluation.ensemble_table import main

if __name__ == "__main__":
    sys.exit(main({"xsub": get_benchmark("utkinect"), "loso": get_benchmark("utkinect_loso")}))
