"""Measure speed on a large GPU in one call of less than 8 minutes; --out names the folder, --help lists the options."""

import sys

from protogcn.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--gpu-report", *sys.argv[1:]]))
