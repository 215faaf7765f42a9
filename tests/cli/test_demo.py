import csv
import shlex
from pathlib import Path

import pytest
import yaml
from tiny_runs import NETWORK, tiny_recipe

from protogcn import cli
from protogcn.evaluation import ensemble_table
from protogcn.training import demo
from protogcn.training.recipe import load_recipe

SIX = ("j", "b", "k", "jm", "bm", "km")


def make_small(patch, folder):
    """Three people and one epoch, and trainings in this process instead of six new ones."""
    recipe = tiny_recipe(folder / "nowhere", trainer={"epochs": 1, "batch_size": 32}, pipeline={"test_clips": 1})
    path = folder / "protogcn.yaml"
    path.write_text(yaml.safe_dump(recipe | {"benchmark": "synthetic", "model": {"options": NETWORK}}))
    patch.setattr(demo, "RECIPE", str(path))
    patch.setattr(demo, "SUBJECTS", 3)
    patch.setattr(demo, "_cores", lambda: 1)
    patch.setattr(demo, "_train_stream", lambda stream, words, threads: cli.main(["train", *words, "--stream", stream]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a small demo of seed 3 that has run once, and the recipe it ran with."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch, folder)
        patch.chdir(folder)
        assert cli.main(["demo", "--out", "out", "--seed", "3"]) == 0
    return folder


@pytest.fixture
def again(finished, monkeypatch):
    """The same demo, in which training anything is a failure."""
    make_small(monkeypatch, finished)
    monkeypatch.setattr(demo, "_train_stream", lambda *args: pytest.fail("trained again"))
    return finished


def test_everything_is_written(finished):
    out = finished / "out" / "seed3"
    for name in ("streams.png", "clip.gif", "table.png", "confusion.png"):
        assert (out / name).stat().st_size > 5000
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert [row["name"] for row in rows[:6]] == [f"{stream}-s3" for stream in SIX]
    assert rows[-1]["parts"] == "+".join(f"{stream}-s3" for stream in SIX)
    assert [path.name for path in out.glob("**/.*")] == []


def test_running_it_again_keeps_what_is_finished(again, capsys):
    weights = again / "out/seed3/runs/synthetic/protogcn/j-s3/checkpoints/last.ckpt"
    before = weights.stat().st_mtime_ns
    assert demo.run_demo(again / "out", 3) == 0
    text = capsys.readouterr().out
    assert text.count(" is finished\n") == 6 and text.count(" is there already\n") == 3
    assert "Six streams fused: " in text and weights.stat().st_mtime_ns == before


def test_every_command_it_shows_can_be_typed(again, capsys, monkeypatch):
    monkeypatch.chdir(again)
    demo.run_demo(Path("out"), 3)
    shown = capsys.readouterr().out
    commands = [shlex.split(line.split("$ ")[1]) for line in shown.splitlines() if line.strip().startswith("$ ")]
    assert [words[:2] for words in commands] == [
        ["protogcn", "data"],
        ["protogcn", "train"],
        ["python", "-m"],
        ["protogcn", "ensemble"],
        ["protogcn", "train"],
    ]
    assert cli.main(commands[0][1:]) == 2, "the store is there"
    assert "overwrite" in capsys.readouterr().err
    assert cli.main(commands[1][1:]) == 0
    assert capsys.readouterr().out.count("is finished") == 6
    table = commands[2][3:]
    assert ensemble_table.main({"xsub": demo.SYNTHETIC}, table) == 0
    row = next(line for line in shown.splitlines() if line.startswith("6 with motion"))
    assert row in capsys.readouterr().out
    before, braced, after = commands[3][2].partition("{")[0], *commands[3][2].partition("{")[2].split("}")
    scores = [f"{before}{name}{after}" for name in braced.split(",")]
    assert cli.main(["ensemble", *scores, *commands[3][3:]]) == 0
    assert row.split()[4] in capsys.readouterr().out


def test_python_it_shows_runs(again, capsys, monkeypatch):
    from graphs.draw import animate_clip, draw_streams
    from protogcn.data.store import ClipStore

    monkeypatch.chdir(again)
    demo.run_demo(Path("out"), 3)
    lines = [line.split(">>> ")[1] for line in capsys.readouterr().out.splitlines() if ">>> " in line]
    assert len(lines) == 3
    picture = Path("out/seed3/streams.png")
    before = picture.read_bytes()
    names = {"ClipStore": ClipStore, "draw_streams": draw_streams, "animate_clip": animate_clip}
    exec("\n".join(lines[:2]), names)
    assert picture.read_bytes() == before


def test_another_recipe_is_not_continued(again, capsys):
    path = Path(demo.RECIPE)
    path.write_text(path.read_text().replace("epochs: 1", "epochs: 2"))
    try:
        assert cli.main(["demo", "--out", str(again / "out"), "--seed", "3"]) == 2
    finally:
        path.write_text(path.read_text().replace("epochs: 2", "epochs: 1"))
    assert "another recipe" in (message := capsys.readouterr().err) and "--out" in message


def test_another_store_is_not_used(again, capsys):
    assert cli.main(["demo", "--out", str(again / "out" / "seed3"), "--seed", "0"]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_training_that_fails_stops_the_demo(finished, tmp_path, monkeypatch, capsys):
    make_small(monkeypatch, tmp_path)
    store = finished / "out" / "seed3" / "data"
    started = []
    monkeypatch.setattr(demo, "_train_stream", lambda stream, words, threads: started.append(stream) or stream == "b")
    with pytest.raises(ValueError, match="training of b failed"):
        demo._train(store, tmp_path / "runs", 3)
    assert started == ["j", "b"]


def test_trainings_run_in_processes_of_their_own_and_say_whose_line_it_is(capsys):
    assert demo._train_stream("km", ["configs/synthetic/protogen.yaml"], 1) == 2
    text = capsys.readouterr().out
    assert text.startswith("km  error: ") and "configs/synthetic/protogcn.yaml" in text


def test_the_recipe_is_small_and_complete():
    recipe = load_recipe(demo.RECIPE, "j", ["--data.store=somewhere"])
    assert recipe.benchmark == demo.SYNTHETIC.name
    assert (recipe.data.train, recipe.data.test) == ("xsub_train", "xsub_test")
    assert recipe.evaluation.checkpoint == "last"
