"""Whole runs of networks that compare clips with class names, and their saved models without text weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import ACTIONS, train, write_recipe, write_tiny_store

from protogcn.cli import main
from protogcn.evaluation.scores import load_scores
from protogcn.models import load_model, text_bank

HEAD = {"head": "clip", "text_encoder": "random:width=16,layers=1,heads=2", "prompts": ["{}", "a person who does {}"]}
NETWORK = {"num_blocks": 2, "base_channels": 8, "widen_at": [2], "downsample_at": [2]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "tiny"
    write_tiny_store(path)
    return path


def recipe(folder: Path, store: Path, **options: Any) -> Path:
    model = {"name": "stgcnpp", "options": {**NETWORK, **HEAD, **options}}
    return write_recipe(folder, store, model=model, trainer={"epochs": 2, "ema": 0.5})


@pytest.mark.parametrize("train_text", [False, True])
def test_a_run_takes_the_names_of_the_store(
    train_text: bool, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = recipe(tmp_path, store, train_text=train_text)
    assert train(file, tmp_path / "runs", "--optimizer.lr=0.01", "--loss.sharpness=8") == 0
    (path,) = (tmp_path / "runs").rglob("model.safetensors")

    def refuse(spec: Any) -> Any:
        raise AssertionError(f"opened {spec}")

    monkeypatch.setattr(text_bank, "create_text_encoder", refuse)
    model = load_model(path)
    assert model.description is not None
    assert list(model.description.class_names) == ACTIONS
    assert model(torch.randn(2, 1, 8, 15, 3)).exp().sum().item() == pytest.approx(2, rel=1e-5)
    assert main(["test", str(path), "--store", str(store), "--out", str(tmp_path / "again")]) == 0
    (again,) = (tmp_path / "again").rglob("*.npz")
    first, second = (load_scores(file).scores for file in (path.parent / "scores_test.npz", again))
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_names_may_be_written_in_the_recipe(store: Path, tmp_path: Path) -> None:
    names = [f"someone does {action}" for action in ACTIONS]
    assert train(recipe(tmp_path, store, class_names=names), tmp_path / "runs") == 0
    (path,) = (tmp_path / "runs").rglob("model.safetensors")
    assert load_model(path).classifier.class_names == tuple(names)


def test_the_temperature_is_cut_before_every_step(store: Path, tmp_path: Path) -> None:
    file = recipe(tmp_path, store, logit_scale=9.0, largest_logit_scale=2.0)
    assert train(file, tmp_path / "runs", "--optimizer.lr=0.001", "--trainer.ema=0") == 0
    (path,) = (tmp_path / "runs").rglob("model.safetensors")
    assert load_model(path).classifier.logit_scale.item() == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_encoder": "minilmm"}, "did you mean 'minilm'"),
        ({"text_encoder": "/no/such/file.pt"}, "there are no text weights at /no/such/file.pt"),
        ({"class_names": ["a"]}, "5 classes and 1 class_names"),
    ],
)
def test_what_does_not_fit_is_said(
    options: dict[str, Any], message: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(recipe(tmp_path, store, **options), tmp_path / "runs") != 0
    assert message in " ".join(capsys.readouterr().err.split())
