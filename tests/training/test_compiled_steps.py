"""Compiled training steps reach the losses of those that are not, and say so where nothing compiles."""

import pytest
import torch
from tiny_runs import NETWORK, error_of, history, train, weights, write_recipe

from protogcn.models import create_criterion, create_model
from protogcn.training import compiling, task
from protogcn.training.compiling import check_compiler, compiled


def test_runs_of_captured_steps_repeat_those_of_plain_ones(tmp_path, tiny_store, monkeypatch):
    # The capture of the step alone, which needs no compiler.
    monkeypatch.setattr(task, "compiled", lambda step: torch.compile(step, dynamic=False, backend="eager"))
    monkeypatch.setattr("protogcn.training.fit.check_compiler", lambda device: None)
    rows, states = [], []
    for name, setting in (("plain", False), ("fused", True)):
        sections = {"trainer": {"epochs": 2, "batch_size": 10, "compile": setting, "ema": 0.9}}
        assert train(write_recipe(tmp_path, tiny_store, **sections), tmp_path, "--name", name) == 0
        folder = tmp_path / "tiny" / name / "j"
        rows.append(history(folder))
        states.append(weights(folder))
    for plain, fused in zip(*rows, strict=True):
        assert float(fused["train_loss"]) == pytest.approx(float(plain["train_loss"]), abs=1e-5)
        assert float(fused["val_loss"]) == pytest.approx(float(plain["val_loss"]), abs=1e-5)
    assert states[0].keys() == states[1].keys()
    memory = "model.class_memory.memory"
    torch.testing.assert_close(states[1][memory], states[0][memory], rtol=1e-4, atol=1e-5)


def test_a_fused_step_gives_the_loss_and_the_gradients_of_a_plain_one():
    try:
        check_compiler(torch.device("cpu"))
    except ValueError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    clips, target = torch.randn(3, 1, 8, 15, 3), torch.tensor([0, 1, 2])
    options = {**NETWORK, "num_blocks": 1, "widen_at": [], "downsample_at": []}
    model = create_model("protogcn", skeleton="kinect15", num_classes=3, **options).train()
    criterion = create_criterion("protogcn")
    found = []
    for step in (model.forward_train, compiled(model.forward_train)):
        torch.manual_seed(1)
        model.class_memory.memory.fill_(0.5)
        model.zero_grad()
        logits, aux = step(clips)
        loss = criterion(logits, aux, target)["loss"]
        loss.backward()
        found.append((loss.detach(), model.class_memory.memory.clone(), model.blocks[0].graph.A.grad.clone()))
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


def test_a_missing_compiler_is_named_before_training(tmp_path, tiny_store, capsys, monkeypatch):
    def fail(step):
        raise RuntimeError("no g++ here\nat line 3")

    monkeypatch.setattr(compiling, "compiled", fail)
    recipe = write_recipe(tmp_path, tiny_store, trainer={"compile": True})
    assert train(recipe, tmp_path) == 2
    expected = "trainer.compile needs a C++ compiler such as g++, and compiling failed (no g++ here)"
    assert expected in error_of(capsys)
