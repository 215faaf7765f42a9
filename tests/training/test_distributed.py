"""Two processes are one training: same gradients, same class memory, every test clip exactly once."""

import json
import os
import socket

import numpy as np
import pytest
import torch
from tiny_runs import (
    assert_same_weights,
    checkpoint,
    command,
    environment,
    history,
    main,
    run_process,
    tiny_recipe,
    warm_processes,
    write_recipe,
)
from torch import distributed, nn

from protogcn.evaluation.scores import load_scores
from protogcn.models.losses import ClassContrastiveCriterion
from protogcn.training.averaging import average_statistics
from protogcn.training.evaluate import build_model, load_weights, score_clips
from protogcn.training.loaders import make_dataset, open_store
from protogcn.training.processes import is_first, launched
from protogcn.training.recipe import parse_recipe

LAUNCHER = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_JOB_NAME")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _member(work, rank, port, folder, arguments):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save(work(rank, *arguments), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def on_two_processes(folder, work, *arguments):
    """Run work(rank, *arguments) on two processes joined by gloo; returns both results."""
    context, port = warm_processes(), free_port()
    processes = [context.Process(target=_member, args=(work, rank, port, folder, arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(900)
    assert [process.exitcode for process in processes] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


class Head(nn.Module):
    """Logits and an embedding from plain features, and a class memory, as the criterion sees them of ProtoGCN."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.classifier, self.projection = nn.Linear(6, 3), nn.Linear(6, 4)
        self.register_buffer("memory", torch.randn(4, 3))

    def forward(self, features):
        return self.classifier(features), {"embedding": self.projection(features), "class_memory": self.memory}


def steps(samples, targets, rank=None):
    """Three steps of gradient descent in double precision on a share of the samples, or on all."""
    model = Head().double()
    network = model if rank is None else nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    criterion = ClassContrastiveCriterion(contrastive_weight=0.7, momentum=0.6)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    mine = slice(rank, None, 1 if rank is None else 2)
    gradients = []
    for batch, target in zip(samples, targets, strict=True):
        optimizer.zero_grad()
        logits, aux = network(batch[mine])
        criterion(logits, aux, target[mine])["loss"].backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
        optimizer.step()
    return {"gradients": gradients, "memory": model.memory, "weights": model.state_dict()}


def _share(rank, samples, targets):
    return steps(samples, targets, rank)


def test_the_criterion_of_two_processes_is_that_of_the_doubled_batch(tmp_path):
    torch.manual_seed(1)
    targets = torch.randint(0, 3, (3, 16))
    # Separable, so that some samples are classified correctly and the memory moves.
    samples = torch.randn(3, 16, 6, dtype=torch.float64) + 2 * nn.functional.one_hot(targets, 6)
    whole = steps(samples, targets)
    first, second = on_two_processes(tmp_path, _share, samples, targets)
    assert torch.equal(first["memory"], second["memory"])
    assert (whole["memory"] != Head().double().memory).any()
    torch.testing.assert_close(first["memory"], whole["memory"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(first["gradients"], whole["gradients"], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(first["weights"], whole["weights"], rtol=1e-12, atol=1e-13)


class Strategy:
    """What averaging asks of Lightning."""

    world_size = 2

    @staticmethod
    def reduce(tensor, reduce_op):
        assert reduce_op == "mean"
        distributed.all_reduce(tensor)
        return tensor / 2


def _averaged(rank):
    norm = nn.BatchNorm1d(3)
    torch.manual_seed(rank)
    norm(torch.randn(8, 3))
    before = norm.running_mean.clone()
    average_statistics(norm, Strategy)
    return before, norm.state_dict()


def test_running_statistics_become_their_mean(tmp_path):
    (one, averaged), (two, same) = on_two_processes(tmp_path, _averaged)
    torch.testing.assert_close(averaged["running_mean"], (one + two) / 2)
    assert (one != two).all() and int(averaged["num_batches_tracked"]) == 1
    for name, value in averaged.items():
        assert torch.equal(value, same[name])


def assert_scored_like_one_process(folder, recipe):
    """The score file holds every test clip once, with the scores that one process gives."""
    scores = load_scores(folder / "scores_test.npz")
    dataset = make_dataset(recipe, open_store(recipe), "test")
    assert len(scores.ids) == 15 and scores.ids.tolist() == dataset.ids
    model = build_model(recipe, dataset, 5)
    load_weights(model, folder / "checkpoints" / "last.ckpt")
    places, expected = score_clips(model, recipe, dataset)
    assert places.tolist() == list(range(15))
    np.testing.assert_allclose(scores.scores, expected.numpy(), atol=1e-5)
    facts = json.loads((folder / "metrics.json").read_text())
    assert facts["clips"] == 15 and facts["hardware"]["devices"] == "2 x cpu"


def assert_trained_on_everything(folder, epochs):
    """Both processes counted: 30 clips in batches of 5 on two processes, 15 in validation."""
    rows = history(folder)
    assert len(rows) == epochs
    for row in rows:
        assert 30 * float(row["train_top1"]) == pytest.approx(round(30 * float(row["train_top1"])), abs=1e-3)
        assert 15 * float(row["val_top1"]) == pytest.approx(round(15 * float(row["val_top1"])), abs=1e-3)


def test_several_streams_on_two_processes_by_the_command_line(tmp_path, tiny_store):
    recipe = write_recipe(tmp_path, tiny_store, trainer={"epochs": 1})
    words = command(recipe, tmp_path, "--devices", 2, "--streams", "j,b")
    done = run_process(words)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    for stream in ("j", "b"):
        folder = tmp_path / "tiny" / "protogcn" / stream
        content = tiny_recipe(tiny_store, trainer={"epochs": 1}, stream=stream)
        assert_scored_like_one_process(folder, parse_recipe(content, "test"))
        assert_trained_on_everything(folder, 1)
    assert done.stdout.count("epoch 1/1") == 2
    last = done.stdout.rstrip().splitlines()[-1]
    assert last.startswith("  all") and "fused" in last


def _torchrun(rank, port, words, epochs):
    given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    given |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none"}
    os.environ.clear()
    os.environ.update(environment() | {name: str(value) for name, value in given.items()})
    torch.set_num_threads(1)
    if epochs:
        from tiny_runs import stop_before_epoch

        with stop_before_epoch(epochs + 1):
            os._exit(main(words))
    os._exit(main(words))


def as_torchrun(words, epochs=0):
    """What torchrun does: the same command in two processes that know of each other by their environment."""
    context, port = warm_processes(), free_port()
    processes = [context.Process(target=_torchrun, args=(rank, port, words, epochs)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(900)
    return [process.exitcode for process in processes]


def test_processes_of_torchrun_resume_exactly(tmp_path, tiny_store):
    sections = {"trainer": {"epochs": 3, "ema": 0.7, "validate_every": 3}}
    recipe = write_recipe(tmp_path, tiny_store, **sections)

    def words(name):
        fixed = ["train", str(recipe), "--runs", str(tmp_path), "--accelerator", "cpu", "--devices", "2"]
        return [*fixed, "--name", name]

    whole, cut = (tmp_path / "tiny" / name / "j" for name in ("whole", "cut"))
    assert as_torchrun(words("whole")) == [0, 0]
    assert as_torchrun(words("cut"), epochs=2) != [0, 0]
    assert checkpoint(cut)["epoch"] == 1 and not (cut / "metrics.json").exists()
    assert as_torchrun(words("cut")) == [0, 0]
    first, second = checkpoint(whole), checkpoint(cut)
    assert_same_weights(first["state_dict"], second["state_dict"])
    assert_same_weights(first["current_model_state"], second["current_model_state"])
    assert history(whole) == history(cut)
    assert_scored_like_one_process(cut, parse_recipe(tiny_recipe(tiny_store, **sections), "test"))
    # What is finished is skipped, and the next stream follows in the same processes.
    before = (cut / "metrics.json").stat().st_mtime_ns
    assert as_torchrun([*words("cut"), "--streams", "j,km"]) == [0, 0]
    assert (cut / "metrics.json").stat().st_mtime_ns == before
    content = tiny_recipe(tiny_store, **sections, stream="km")
    assert_scored_like_one_process(cut.with_name("km"), parse_recipe(content, "test"))


@pytest.mark.parametrize(
    ("variables", "first", "started"),
    [
        ({}, True, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, False, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True, True),
        ({"RANK": "8", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False, True),
        ({"SLURM_PROCID": "0", "SLURM_JOB_NAME": "train"}, True, True),
        ({"SLURM_PROCID": "5", "SLURM_JOB_NAME": "train"}, False, True),
        ({"SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash"}, True, False),
        ({"SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash", "LOCAL_RANK": "1"}, False, True),
    ],
)
def test_a_process_knows_its_place(monkeypatch, variables, first, started):
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (is_first(), launched()) == (first, started)
