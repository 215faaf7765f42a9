"""What this process is in a distributed training."""

import os
import sys


def launched() -> bool:
    """Whether torchrun, SLURM's srun or Lightning started this process as one of several."""
    # The shell of an interactive SLURM job has the variables of a task too.
    task = "SLURM_PROCID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    return "LOCAL_RANK" in os.environ or task


def is_first() -> bool:
    """Whether this process writes what is written once: the first of all, on all nodes."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    if "LOCAL_RANK" in os.environ:
        return os.environ["LOCAL_RANK"] == os.environ.get("NODE_RANK", "0") == "0"
    return not launched() or os.environ["SLURM_PROCID"] == "0"


def leave_group() -> None:
    """End the process group, if there is one: threads that it still runs at exit can bring the process down."""
    if "torch" in sys.modules:
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
