"""Sweeps: the rows they have, the runs they make or leave alone, the table they write."""

import csv
import json
import subprocess

import pytest
import yaml
from tiny_runs import NETWORK, Stopped, error_of, stop_before_epoch, write_recipe

from protogcn.cli import main
from protogcn.data.store import ClipStore, write_store
from protogcn.evaluation.metrics import evaluate
from protogcn.evaluation.scores import load_scores
from protogcn.training.run_folder import is_finished, read_config
from protogcn.training.sweep import combine, parse_vary, plan_sweep


@pytest.fixture
def recipe(tmp_path, tiny_store):
    return write_recipe(tmp_path, tiny_store, trainer={"epochs": 1}, optimizer={"multipliers": {"blocks": 0.5}})


def sweep(recipe, runs, *words):
    return main(["sweep", str(recipe), "--runs", str(runs), "--accelerator", "cpu", *map(str, words)])


def settings(recipe, *vary, **more):
    return [row.settings for row in plan_sweep(recipe, vary, **more).rows]


def test_every_combination_or_zipped_lists(recipe):
    vary = ("optimizer.lr=1e-2,5e-3", "trainer.batch_size=5,10,15")
    found = settings(recipe, *vary)
    assert len(found) == 6 and found[1] == {"optimizer.lr": 0.01, "trainer.batch_size": 10}
    pairs = settings(recipe, "optimizer.lr=1e-2,1e-2,.5", "trainer.batch_size=5,10,10", zipped=True)
    assert [tuple(row.values()) for row in pairs] == [(0.01, 5), (0.01, 10), (0.5, 10)]


def test_rows_change_their_recipe_and_nothing_else(recipe, tmp_path):
    plan = plan_sweep(
        recipe,
        ["optimizer.multipliers.blocks.0=1e-3,0.1", "model.options.widen_at=[2],[]", "loss.label_smoothing=0.1"],
        overrides=["--trainer.epochs=7"],
        runs=tmp_path,
    )
    assert len(plan.rows) == 4 and plan.keys == [
        "loss.label_smoothing",
        "model.options.widen_at",
        "optimizer.multipliers.blocks.0",
    ]
    first = plan.rows[0].recipe
    assert first.optimizer.multipliers == {"blocks": 0.5, "blocks.0": 0.001} and first.loss == {"label_smoothing": 0.1}
    assert first.model.options == {**NETWORK, "widen_at": [2]} and plan.rows[1].recipe.model.options["widen_at"] == []
    assert all(row.recipe.trainer.epochs == 7 for row in plan.rows)
    folders = [row.folder.parent.name for row in plan.rows]
    assert len(set(folders)) == 4 and all(name.startswith("protogcn-label_smoothing0.1-widen_at") for name in folders)
    assert plan.table == tmp_path / "tiny" / "protogcn-sweep-label_smoothing-widen_at-0" / "j"


def test_a_row_keeps_its_folder_when_values_are_added_or_settings_change_places(recipe):
    def folders(*vary):
        return {str(row.settings): row.folder for row in plan_sweep(recipe, vary).rows}

    few = set(folders("optimizer.lr=0.1,0.2", "seed=0,1").values())
    more = set(folders("seed=0,1,2", "optimizer.lr=0.3,0.2,0.1").values())
    assert len(few) == 4 and few < more


def test_folders_of_any_values_are_plain_names(recipe):
    paths = "init.weights=runs/a/b.ckpt,runs/a_b.ckpt," + "x" * 300
    plan = plan_sweep(recipe, [paths, "stream=j,b"], overrides=["--init.partial=false"])
    names = {row.folder.as_posix() for row in plan.rows}
    assert len(names) == 6
    for row in plan.rows:
        assert len(row.folder.parts) == 4 and len(row.folder.parent.name) < 150 and row.folder.name == row.recipe.stream


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to vary"),
        (("--vary", "optimizer.lr=0.1"), "nothing to vary"),
        (("--vary", "optimizer.lrr=1,2"), "unknown setting of a recipe 'optimizer.lrr'; did you mean 'optimizer.lr'"),
        (("--vary", "optimizer=1,2"), "unknown setting of a recipe 'optimizer'"),
        (("--vary", "optimizer.lr.x=1,2"), "unknown setting of a recipe 'optimizer.lr.x'"),
        (("--vary", "benchmark=a,b"), "unknown setting of a recipe 'benchmark'"),
        (("--vary", "optimizer.lr=1e-2,0.01"), "optimizer.lr has the value 0.01 twice"),
        (("--vary", "optimizer.lr=1,2", "--vary", "optimizer.lr=3"), "is there twice"),
        (("--vary", "optimizer.lr"), "--vary takes a setting and its values"),
        (("--vary", "optimizer.lr="), "--vary takes a setting and its values"),
        (("--vary", "optimizer.lr=1,[2"), "--vary takes a setting and its values"),
        (("--vary", "optimizer.lr=1,2", "--vary", "seed=1,2,3", "--zip"), "--zip takes as many values"),
        (("--vary", "optimizer.lr=1,1", "--vary", "seed=1,1", "--zip"), "two rows of the sweep are the same"),
        (("--vary", "optimizer.lr=1,-2"), "lr must be at least 0, got -2"),
        (("--vary", "optimizer.lr=0.1,fast"), "optimizer.lr fast"),
        (("--vary", "seed=0,1", "--select-on", "nothing"), "nothing"),
        (("--vary", "seed=0,1", "--select-on", "xsub_test"), "shares 15 clips with xsub_test"),
        (("--vary", "seed=0,1", "--select-on", "xsub_train"), "shares 30 clips with xsub_train"),
        (("--vary", "seed=0,1", "--devices", "0"), "--devices must be at least 1"),
        (("--vary", "seed=0,1", "--name", "a/b"), "plain name"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_is_trained(recipe, tmp_path, capsys, words, message):
    assert sweep(recipe, tmp_path, *words) == 2
    assert message in error_of(capsys)
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"rows": [{"optimizer.lr": 1}, {"optimizer.lr": 2}]}, "base must be the path"),
        ({"base": "tiny.yaml", "rows": {"optimizer.lr": 1}}, "rows must be a list of settings"),
        ({"base": "tiny.yaml", "rows": [{}]}, "rows must be a list of settings"),
        ({"base": "tiny.yaml", "rows": [{"optimizer.lr": 1}, {"optimizer.lr": 1.0}]}, "is there twice"),
        ({"base": "tiny.yaml", "rows": [{"optimizer.rate": 1}]}, "unknown setting of a recipe"),
        ({"base": "tiny.yaml", "rows": [{"seed": 1}], "vary": {}}, "not both"),
        ({"base": "tiny.yaml", "vary": {"seed": 1}}, "lists of values"),
        ({"base": "tiny.yaml", "vary": {"seed": [1, 2]}, "zip": "no way"}, "zip must be true or false"),
        ({"base": "tiny.yaml", "vary": {"seed": [1, 2]}, "trainer": {}}, "unknown key of a sweep 'trainer'"),
        ({"base": "none.yaml", "vary": {"seed": [1, 2]}}, "there is no recipe none.yaml"),
    ],
)
def test_a_bad_file_is_one_clear_message(recipe, tmp_path, capsys, content, message):
    (tmp_path / "many.yaml").write_text(yaml.safe_dump(content))
    assert sweep(tmp_path / "many.yaml", tmp_path) == 2
    assert message in error_of(capsys)


def test_a_file_lists_rows_or_what_varies(recipe, tmp_path):
    def read(content):
        (tmp_path / "many.yaml").write_text(content)
        return plan_sweep(tmp_path / "many.yaml")

    rows = read("base: tiny.yaml\nrows:\n- {optimizer.lr: 1e-2, seed: 1}\n- {optimizer.lr: 0.1}\n")
    assert [row.settings for row in rows.rows] == [{"optimizer.lr": 0.01, "seed": 1}, {"optimizer.lr": 0.1}]
    assert rows.table.parts[-2] == "protogcn-sweep-many" and rows.select_on == ""
    vary = read("base: tiny.yaml\nvary: {optimizer.lr: [1e-2, 5e-3], seed: [0, 1]}\nselect_on: other\n")
    assert [tuple(row.settings.values()) for row in vary.rows] == [(0.01, 0), (0.01, 1), (0.005, 0), (0.005, 1)]
    assert vary.select_on == "other"
    assert len(read("base: tiny.yaml\nzip: true\nvary: {optimizer.lr: [1e-2, 5e-3], seed: [0, 1]}\n").rows) == 2
    with pytest.raises(ValueError, match="leave out --vary"):
        plan_sweep(tmp_path / "many.yaml", ["seed=3,4"])


def test_numbers_are_read_as_numbers():
    assert parse_vary(["optimizer.lr=1e-2,.5,3"]) == {"optimizer.lr": ["1e-2", 0.5, 3]}
    assert combine({"optimizer.lr": ["1e-2", "+1.E3", 2]}) == [{"optimizer.lr": value} for value in (0.01, 1000.0, 2)]
    assert combine({"model.name": ["1x", "e5"]}) == [{"model.name": "1x"}, {"model.name": "e5"}]


def test_a_sweep_trains_continues_skips_and_writes_its_table(recipe, tmp_path, capsys):
    words = ("--vary", "optimizer.lr=0.1,0", "--trainer.epochs=2")
    with pytest.raises(Stopped), stop_before_epoch(2):
        sweep(recipe, tmp_path, *words)
    first, second = (tmp_path / "tiny" / f"protogcn-lr{value}" / "j" for value in ("0.1", "0"))
    assert (first / "checkpoints" / "last.ckpt").is_file() and not second.exists()
    assert sweep(recipe, tmp_path, *words) == 0
    out = capsys.readouterr().out
    assert out.count("epoch 1/2") == 2 and out.count("epoch 2/2") == 2 and "row 2 of 2: optimizer.lr 0" in out
    assert read_config(first).optimizer.lr == 0.1 and is_finished(second)

    made = [(folder / "metrics.json").stat().st_mtime_ns for folder in (first, second)]
    assert sweep(recipe, tmp_path, *words) == 0
    out = capsys.readouterr().out
    assert out.count("is finished") == 2 and "epoch" not in out.replace("epochs", "")
    assert [(folder / "metrics.json").stat().st_mtime_ns for folder in (first, second)] == made

    table = tmp_path / "tiny" / "protogcn-sweep-lr"
    with (table / "j.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["top1"]) for row in rows] == sorted((float(row["top1"]) for row in rows), reverse=True)
    for row in rows:
        folder = tmp_path / "tiny" / f"protogcn-lr{row['optimizer.lr']}" / "j"
        metrics = json.loads((folder / "metrics.json").read_text())
        assert float(row["top1"]) == metrics["top1"] and float(row["mean_class"]) == metrics["mean_class"]
        assert [float(row["top1_low"]), float(row["top1_high"])] == metrics["top1_interval"] and row["epochs"] == "2"
    text = (table / "j.md").read_text()
    assert text in out and text.startswith("| optimizer.lr | top-1 | 95 % interval | mean class | epochs | run |\n")
    assert f"| {100 * float(rows[0]['top1']):.2f} |" in text.splitlines()[2] and "--select-on" in text


def test_a_held_out_split_decides(tmp_path, tiny_store, capsys):
    store = ClipStore.open(tiny_store)
    kinds = {"skeleton": store.skeleton, "class_names": store.class_names, "channels": store.channels}
    splits = {name: list(range(start, 45, 3)) for start, name in enumerate(("learn", "choose", "judge"))}
    held = write_store(tmp_path / "store", (store[i] for i in range(45)), splits=splits, **kinds).path
    recipe = write_recipe(tmp_path, held, data={"train": "learn", "test": "judge"}, trainer={"epochs": 1})
    words = ("--vary", "optimizer.lr=0.2,0", "--select-on", "choose")
    assert sweep(recipe, tmp_path, *words) == 0
    out = capsys.readouterr().out
    assert "Sorted by top-1 on choose" in out and "optimistic" not in out
    with (tmp_path / "tiny" / "protogcn-sweep-lr" / "j.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [float(row["choose_top1"]) for row in rows]
    assert chosen == sorted(chosen, reverse=True)
    # Tested on that split by itself, the run gives the same figure.
    folder = tmp_path / "tiny" / f"protogcn-lr{rows[0]['optimizer.lr']}" / "j"
    words_of_test = ("--store", held, "--split", "choose", "--out", tmp_path / "o")
    assert main(["test", str(folder / "model.safetensors"), *map(str, words_of_test)]) == 0
    scores = load_scores(tmp_path / "o" / "scores_test.npz")
    assert evaluate(scores.scores, scores.labels).top1 == chosen[0]
    note = folder / "metrics_choose.json"
    made = note.stat().st_mtime_ns
    assert sweep(recipe, tmp_path, *words) == 0 and note.stat().st_mtime_ns == made
    note.write_text("{")
    assert sweep(recipe, tmp_path, *words) == 0 and json.loads(note.read_text())["top1"] == chosen[0]


def test_several_processes_train_each_row_in_processes_of_their_own(recipe, tmp_path, monkeypatch, capsys):
    calls, status = [], 0
    original = subprocess.run

    def run(words, **how):
        if "protogcn.cli" not in words:
            return original(words, **how)
        calls.append(words)
        # The very words, but for the number of processes.
        start = words.index("train")
        return subprocess.CompletedProcess(words, status or main([*words[start:-6], "--accelerator", "cpu"]))

    monkeypatch.setattr(subprocess, "run", run)
    assert sweep(recipe, tmp_path, "--vary", "seed=0,1", "--devices", "2") == 0
    assert len(calls) == 2 and calls[0][-6:] == ["--accelerator", "cpu", "--devices", "2", "--num-nodes", "1"]
    assert {path.parent.name for path in (tmp_path / "tiny").glob("*/*/metrics.json")} == {"j", "j-s1"}
    capsys.readouterr()
    status = 2
    assert sweep(recipe, tmp_path, "--vary", "seed=2,3", "--devices", "2") == 2
    assert "failed; its message is above" in error_of(capsys)
