"""Training with several processes: ``python -m protogcn.bench.processes <rank> <processes> <file> <quick>``."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SAMPLES, _FRAMES, _STEPS = 8, 32, 5
_LONGEST = 300


def seconds_per_clip(world: int, quick: bool) -> float:
    """Seconds of training for each clip, every process with a batch of its own on one thread, gradients over gloo.

    Raises:
        RuntimeError: a process failed; with the last line that it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [str(world), str(Path(folder) / "meeting"), str(int(quick))]
        children = [
            subprocess.Popen(
                [sys.executable, "-m", __spec__.name, str(rank), *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        try:
            said = [child.communicate(timeout=_LONGEST) for child in children]
        finally:
            for child in children:
                child.kill()
                child.wait()
    for child, (_, errors) in zip(children, said, strict=True):
        if child.returncode:
            raise RuntimeError((errors.strip().splitlines() or [f"exit status {child.returncode}"])[-1])
    return float(said[0][0].strip().splitlines()[-1])


def _train(rank: int, world: int, meeting: str, quick: bool) -> float:
    import torch
    from torch import Tensor, nn
    from torch.nn.parallel import DistributedDataParallel

    from protogcn.bench.subjects import Case
    from protogcn.models import create_criterion

    class Loss(nn.Module):
        """Network and criterion in one, as every gradient must come through what is shared."""

        def __init__(self, case: Case) -> None:
            super().__init__()
            self.network, self.criterion = case.ours(like_plain=False), create_criterion(case.model)

        def forward(self, clips: Tensor, labels: Tensor) -> Tensor:
            logits, aux = self.network.forward_train(clips)
            loss: Tensor = self.criterion(logits, aux, labels)["loss"]
            return loss

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    case = Case("protogcn", quick=True, seed=rank, samples=2 if quick else _SAMPLES, frames=4 if quick else _FRAMES)
    # Statistics are averaged before validation in training, so they are not sent here either.
    shared: Any = DistributedDataParallel(Loss(case), broadcast_buffers=False)
    optimizer = torch.optim.SGD(shared.parameters(), lr=1e-3)
    clips, labels = case.clips(), case.labels()
    started = 0.0
    for step in range(_STEPS + 1):
        if step == 1:
            torch.distributed.barrier()
            started = time.perf_counter()
        optimizer.zero_grad()
        shared(clips, labels).backward()
        optimizer.step()
    torch.distributed.barrier()
    seconds = time.perf_counter() - started
    torch.distributed.destroy_process_group()
    return seconds / (_STEPS * len(clips) * world)


if __name__ == "__main__":
    rank, world, meeting, quick = sys.argv[1:]
    print(_train(int(rank), int(world), meeting, quick == "1"))
