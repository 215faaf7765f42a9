"""Fuse the streams of the synthetic clips and print the table; --help lists the options."""

import sys

from protogcn.evaluation.ensemble_table import main
from protogcn.training.demo import SYNTHETIC

if __name__ == "__main__":
    sys.exit(main({"xsub": SYNTHETIC}))
