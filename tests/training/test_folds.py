"""Benchmarks that average over folds: a run folder per fold, all folds by one command, the mean at the end."""

import json

import pytest
from tiny_runs import error_of, tiny_recipe, train

from protogcn.cli.training import _without_choice
from protogcn.data.store import write_store
from protogcn.data.synthetic import generate
from protogcn.evaluation.scores import load_scores
from protogcn.training.loaders import split_names
from protogcn.training.recipe import in_fold, parse_recipe
from protogcn.training.run_folder import run_folder
from protogcn.training.streams import parse_folds

ACTIONS = ("walk", "wave", "clap", "sit down", "kick", "throw", "jump", "bow")


@pytest.fixture(scope="module")
def sbu_like(tmp_path_factory):
    """A store with the classes, the joints and the folds of SBU, of synthetic people."""
    clips = list(generate("kinect15", actions=ACTIONS, subjects=2, views=(1,), repetitions=1, frames=(10, 12), seed=2))
    rows = set(range(len(clips)))
    tests = {f"fold{fold}_test": sorted(row for row in rows if row % 5 == fold) for fold in range(5)}
    trains = {name.replace("test", "train"): sorted(rows.difference(members)) for name, members in tests.items()}
    path = tmp_path_factory.mktemp("folds") / "store"
    write_store(path, clips, skeleton="kinect15", class_names=ACTIONS, splits=tests | trains, channels="xyz")
    return path


def recipe_of(store, **data):
    content = tiny_recipe(store, benchmark="sbu", trainer={"epochs": 1})
    content["data"] = {"store": str(store), **data}
    return content


def test_each_fold_has_its_splits_and_its_folder(sbu_like):
    recipe = parse_recipe(recipe_of(sbu_like), "here")
    assert split_names(recipe) == ("fold0_train", "fold0_test")
    assert split_names(in_fold(recipe, 3)) == ("fold3_train", "fold3_test")
    assert run_folder("runs", in_fold(recipe, 3)).as_posix() == "runs/sbu/protogcn/j-f3"
    named = parse_recipe(recipe_of(sbu_like, train="mine", test="fold1_test"), "here")
    assert split_names(named) == ("mine", "fold1_test")
    assert run_folder("runs", named).name == "j"
    with pytest.raises(ValueError, match=r"sbu has the folds 0 to 4; got data.fold 5"):
        split_names(in_fold(recipe, 5))


def test_folds_of_the_command_line(sbu_like):
    recipe = parse_recipe(recipe_of(sbu_like), "here")
    assert parse_folds("all", recipe) == [0, 1, 2, 3, 4]
    assert parse_folds("4, 1", recipe) == [4, 1]
    for wrong in ("5", "1,1", "", "one", "-1"):
        with pytest.raises(ValueError, match="--folds takes all, or different numbers of 0 to 4"):
            parse_folds(wrong, recipe)


def test_a_process_of_its_own_gets_one_stream_and_one_fold():
    class Args:
        words = ("r.yaml", "--streams", "j,b", "--folds=all", "--devices", "2", "--folds", "1")

    assert _without_choice(Args) == ["r.yaml", "--devices", "2"]


def test_several_folds_in_one_command(sbu_like, tmp_path, capsys):
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(recipe_of(sbu_like)))
    assert train(path, tmp_path / "runs", "--streams", "j,b", "--folds", "1,4") == 0
    out = capsys.readouterr().out
    top1 = {}
    for stream in "jb":
        for fold in (1, 4):
            folder = tmp_path / "runs" / "sbu" / "protogcn" / f"{stream}-f{fold}"
            metrics = json.loads((folder / "metrics.json").read_text())
            assert (metrics["fold"], metrics["split"]) == (fold, f"fold{fold}_test")
            assert load_scores(folder / "scores_test.npz").meta["fold"] == fold
            top1.setdefault(stream, []).append(metrics["top1"])
    for stream, (first, second) in top1.items():
        assert f"{stream:<3} {100 * (first + second) / 2:6.2f} % top-1   mean of 2 folds" in out
    assert "fused by probabilities, mean of 2 folds" in out
    assert train(path, tmp_path / "runs", "--folds", "7") == 2
    assert "0 to 4" in error_of(capsys)
