"""Streams tested together from one decode give what each gives by itself, and fused what their score files give."""

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import NETWORK, error_of, train, write_recipe

from graphs.streams import STREAMS
from protogcn.cli import main
from protogcn.data.store import ClipStore
from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.presets import preset_of
from protogcn.evaluation.scores import load_scores
from protogcn.inference import load_streams
from protogcn.inference.saved_streams import find_streams
from protogcn.models import create_model, load_model, save_model

SCORES = "scores_test.npz"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_store: Path) -> Path:
    """Runs of all six streams, with losses and options of their own, two test clips each."""
    folder = tmp_path_factory.mktemp("six")
    recipe = write_recipe(
        folder,
        tiny_store,
        trainer={"epochs": 1},
        pipeline={"rotation": 0.1},
        streams={"b": {"loss": {"contrastive_weight": 0.3}}, "k": {"model": {"options": {"num_prototypes": 5}}}},
    )
    assert train(recipe, folder / "runs", "--streams", ",".join(STREAMS)) == 0
    return folder / "runs" / "tiny" / "protogcn"


def alone(runs: Path) -> list[Any]:
    return [load_scores(runs / stream / SCORES) for stream in STREAMS]


def fused_files(runs: Path) -> Any:
    preset = preset_of("protogcn")
    return fuse(alone(runs), preset.weights(STREAMS), preset.rule)


def test_scores_are_those_of_each_run_and_of_their_fusion(runs: Path, tiny_store: Path) -> None:
    store = ClipStore.open(tiny_store)
    networks = load_streams(runs)
    assert networks.streams == STREAMS and networks.kind == "probabilities"
    found = networks.classify([store[row] for row in store.split("xsub_test")], batch_size=4)
    for stream, part in zip(STREAMS, alone(runs), strict=True):
        np.testing.assert_allclose(found.single[stream].numpy(), part.scores, rtol=0, atol=1e-5)
    expected = fused_files(runs).scores.scores
    np.testing.assert_allclose(found.fused.numpy(), expected, rtol=0, atol=1e-5)
    assert (found.fused.numpy().argmax(1) == expected.argmax(1)).all()
    for row, best in zip(expected, found.top(2), strict=True):
        assert [name for name, _ in best] == [store.class_names[index] for index in np.argsort(-row)[:2]]
        assert best[0][1] == pytest.approx(row.max(), abs=1e-5)


def test_the_command_prints_the_table_and_writes_scores_where_it_is_told(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in sorted(runs.rglob("*")) if file.is_file()}
    out = tmp_path / "out"
    assert main(["test", str(runs), "--streams", ",".join(STREAMS), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    fusion = fused_files(runs)
    assert "2:2:2:1:1:1" in told and f"{100 * fusion.metrics.top1:.2f}" in told
    for stream, part in zip(STREAMS, alone(runs), strict=True):
        again = load_scores(out / stream / SCORES)
        assert again.ids.tolist() == part.ids.tolist() and again.kind == part.kind
        assert {**again.meta, "source": ""} == {**part.meta, "source": ""}
        np.testing.assert_allclose(again.scores, part.scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(load_scores(out / "scores_fused.npz").scores, fusion.scores.scores, rtol=0, atol=1e-5)
    assert {file: file.read_bytes() for file in sorted(runs.rglob("*")) if file.is_file()} == before


def test_some_streams_in_any_order_and_nothing_written(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import protogcn.data.pipeline_base as base

    prepared = []
    original = base.Pipeline.prepare

    def count(self: base.Pipeline, clip: Any) -> base.Prepared:
        prepared.append(clip.id)
        return original(self, clip)

    monkeypatch.setattr(base.Pipeline, "prepare", count)
    assert main(["test", str(runs), "--streams", "km,j"]) == 0
    told = capsys.readouterr().out
    assert "nothing was written" in told and "1:2" in told
    assert len(prepared) == len(set(prepared)) == 15


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--streams", "j,x"], "unknown stream 'x'"),
        (["--streams", "j,b", "--checkpoint", "best"], "--checkpoint is for one run"),
        (["--streams", "j,b", "--device", "tpu"], "cannot be used here"),
        (["--streams", "j,b", "--split", "nobody"], "nobody"),
        (["--streams", "j,b", "--store", "nowhere"], "nowhere"),
    ],
)
def test_what_does_not_fit_is_said(runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["test", str(runs), *words]) == 2
    assert said in error_of(capsys)


def test_results_of_runs_are_not_overwritten(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(runs), "--streams", "j,b", "--out", str(runs)]) == 2
    assert "holds a run" in error_of(capsys)
    assert main(["test", str(runs.parent / "other"), "--streams", "j,b"]) == 2
    assert "there is no folder" in error_of(capsys)
    assert main(["test", str(runs / "j"), "--streams", "j,b"]) == 2
    assert "there is no model" in error_of(capsys)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preprocessing": {"clip_len": 12}}, "pipeline.clip_len 12 instead of 8"),
        ({"preprocessing": {"protocol": "pyskl_3d"}}, "pipeline.protocol 'pyskl_3d' instead of 'protogcn_3d'"),
        ({"benchmark": "elsewhere"}, "benchmark 'elsewhere' instead of 'tiny'"),
        ({"class_names": ["walk", "wave", "clap", "kick", "sit down"]}, "class names"),
        ({"evaluation": {"fold": 1}}, "fold 1 instead of 0"),
        ({"stream": "j"}, "are both of stream j"),
        ({"preprocessing": {"clip_lenght": 12}}, "did you mean"),
        ({"preprocessing": {"clip_len": "long"}}, "says wrongly how its clips are prepared"),
    ],
)
def test_networks_of_other_clips_are_refused(runs: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    model = load_model(runs / "b")
    assert model.description is not None
    known = {name: dict(getattr(model.description, name)) for name in ("preprocessing", "evaluation")}
    merged: dict[str, Any] = {
        name: {**known[name], **value} if name in known else value for name, value in changes.items()
    }
    other = save_model(model, tmp_path / "b.safetensors", **merged)
    with pytest.raises(ValueError, match=said):
        load_streams([runs / "j", other])


def test_augmentation_may_differ(runs: Path, tmp_path: Path) -> None:
    model = load_model(runs / "b")
    assert model.description is not None
    other = save_model(
        model, tmp_path / "b.safetensors", preprocessing={**model.description.preprocessing, "rotation": 0.3}
    )
    assert load_streams([runs / "j", other]).streams == ("j", "b")


def test_folders_without_models_are_refused(runs: Path, tmp_path: Path) -> None:
    assert list(find_streams(runs)) == list(STREAMS)
    assert list(find_streams(runs, ["km", "b"])) == ["km", "b"]
    with pytest.raises(FileNotFoundError, match="holds no <stream>"):
        load_streams(tmp_path)
    with pytest.raises(ValueError, match="there are no networks"):
        load_streams([])
    with pytest.raises(ValueError, match="streams chooses from a folder"):
        load_streams([runs / "j"], ["j"])
    untold = save_model(
        create_model("protogcn", skeleton="kinect15", num_classes=5, **NETWORK), tmp_path / "bare.safetensors"
    )
    with pytest.raises(ValueError, match="does not say how the clips"):
        load_streams([untold])


def test_the_lines_of_the_page_answer_by_name(runs: Path, tiny_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "inference.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"```python\n(.+?)```", page, re.DOTALL) if "load_streams" in text]
    given = {'"runs/nw_ucla/protogcn"': repr(str(runs)), '"data/nw_ucla"': repr(str(tiny_store))}
    for name, own in given.items():
        assert name in block
        block = block.replace(name, own)
    exec(block, {})
    answers = ast.literal_eval(capsys.readouterr().out)
    names = ClipStore.open(tiny_store).class_names
    assert len(answers) == 3 and {name for name, _ in answers} <= set(names)
    assert [score for _, score in answers] == sorted((score for _, score in answers), reverse=True)
