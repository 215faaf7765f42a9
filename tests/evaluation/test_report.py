import csv
import os

import numpy as np
import pytest

from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.metrics import evaluate
from protogcn.evaluation.plots import plot_confusion, plot_curves, plot_table
from protogcn.evaluation.report import Row, format_columns, format_comparison, format_p, format_table, write_csv
from protogcn.evaluation.scores import ScoreFile

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 6, 120)


def part(stream):
    scores = RNG.standard_normal((120, 6)) + 2 * np.eye(6)[LABELS]
    return ScoreFile(np.array([f"c{i}" for i in range(120)]), scores, "logits", LABELS, (), {"stream": stream})


@pytest.fixture(scope="module")
def rows():
    parts = [part("j"), part("b")]
    fusion = fuse(parts, [2, 1])
    singles = [Row(p.name, "stream", evaluate(p.scores, p.labels)) for p in parts]
    fused = Row("2 streams", "motion", fusion.metrics, fusion, published=96.5, publisher="CTR-GCN", own=False)
    return [*singles, fused]


def test_table_says_what_was_measured(rows):
    text = format_table(rows)
    head, rule, *lines = text.splitlines()
    assert set(rule) == {"-"} and len({len(line) for line in (head, rule, lines[-1])}) == 1
    for word in ("top-1", "95 % interval", "top-5", "published", "difference", "over best", "p"):
        assert word in head
    top1 = 100 * rows[-1].metrics.top1
    assert f"{top1:.2f}" in lines[-1] and "96.50 (CTR-GCN)" in lines[-1] and "2:1" in lines[-1]
    assert f"{round(top1, 2) - 96.5:+.2f}" in lines[-1]


def test_columns_without_content_are_dropped(rows):
    text = format_table(rows[:2])
    assert "published" not in text and "weights" not in text and "over best" not in text
    assert (
        format_columns(["", "a", "b"], [["x", "", "1"], ["long", "", "22"]]) == "       b\n--------\nx      1\nlong  22"
    )


def test_equal_weights_are_shown_as_ones():
    fusion = fuse([part("j"), part("b")], [0.6, 0.6])
    assert Row("x", "motion", fusion.metrics, fusion).weights == "1:1"


def test_small_p_values_and_sentences():
    assert (format_p(0.0001), format_p(0.0456)) == ("<0.001", "0.046")
    text = format_comparison("a", "b", 0.0123, -0.004, 0.03, 0.2)
    assert text == "a against b: +1.23 points (95 % interval -0.40 to +3.00, McNemar mid-p 0.200)"


def test_csv_has_every_figure(tmp_path, rows):
    path = write_csv(rows, tmp_path / "out" / "table.csv")
    with path.open(newline="") as file:
        records = list(csv.DictReader(file))
    assert [record["name"] for record in records] == ["j", "b", "2 streams"]
    last = records[-1]
    assert float(last["top1"]) == pytest.approx(100 * rows[-1].metrics.top1, abs=1e-4)
    assert (last["parts"], last["weights"], last["rule"], last["clips"]) == ("j+b", "2:1", "probabilities", "120")
    assert last["publisher"] == "CTR-GCN" and float(last["published"]) == 96.5 and records[0]["published"] == ""
    assert os.listdir(path.parent) == ["table.csv"]


def png_size(path):
    raw = path.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(raw[16:20], "big"), int.from_bytes(raw[20:24], "big")


def test_plot_of_the_table(tmp_path, rows):
    short, tall = plot_table(rows, tmp_path / "a" / "t.png"), plot_table(rows * 3, tmp_path / "b.png", "title")
    assert png_size(tall)[1] > png_size(short)[1]


@pytest.mark.parametrize("classes, names", [(3, ("sit", "stand", "throw")), (25, ()), (99, ())])
def test_plot_of_a_confusion_matrix(tmp_path, classes, names):
    confusion = RNG.integers(0, 5, (classes, classes))
    confusion[1] = 0
    width, height = png_size(plot_confusion(confusion, tmp_path / "c.png", names))
    assert width > height > 400


def test_plot_of_training_curves(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,train/loss,val/top1,lr-SGD\n0,1,2.5,,0.1\n0,2,,0.3,\n1,3,nan,,0.05\n1,4,1.5,0.6,\n")
    three = png_size(plot_curves(log, tmp_path / "three.png", "run"))
    log.write_text("step,loss\n1,2.0\n2,1.0\n")
    one = png_size(plot_curves(log, tmp_path / "one.png"))
    assert three[0] == 3 * one[0]
    for empty in ("", "epoch,loss\n", "epoch,loss\n0,\n"):
        log.write_text(empty)
        with pytest.raises(ValueError, match="holds no curve"):
            plot_curves(log, tmp_path / "none.png")
