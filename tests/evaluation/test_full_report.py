import csv

import numpy as np
import pytest
from score_parts import make_parts

from protogcn.evaluation.analysis import analyse, confused_pairs
from protogcn.evaluation.analysis_plots import plot_diversity, plot_reliability
from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.evidence import cross_evidence, optimistic_evidence
from protogcn.evaluation.fitting import fit_temperatures, fit_weights
from protogcn.evaluation.full_report import write_report
from protogcn.evaluation.report import Row, format_weights, markdown_table
from protogcn.evaluation.scores import ScoreFile, load_scores
from protogcn.evaluation.sections import sections

PARTS = make_parts(0, 3, clips=150, strengths=(1.5, 1.0, 0.5))
NAMED = [
    ScoreFile(p.ids, p.scores, p.kind, p.labels, ("sit", "stand", "a | b", "run", "fall", "wave"), p.meta)
    for p in PARTS
]


def rows_of(analysis):
    fusion = analysis.fusion
    singles = [Row(n, "stream", m) for n, m in zip(fusion.names, fusion.part_metrics, strict=True)]
    return [*singles, Row("fused", "fused", fusion.metrics, fusion)]


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def analysis():
    return analyse(NAMED, rule="logits", fit=True, subsets=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory, analysis):
    folder = tmp_path_factory.mktemp("report") / "out"
    return write_report(folder, "Six streams", rows_of(analysis), ["fused by logits"], [analysis])


def test_an_analysis_is_made_of_its_pieces(analysis):
    evidence = cross_evidence(NAMED)
    weights = fit_weights(evidence, "logits")
    np.testing.assert_allclose(analysis.weights.by_fold, weights.by_fold)
    assert analysis.fusion.metrics.top1 == fuse(NAMED, weights.applied, "logits").metrics.top1
    assert [part.name for part in analysis.contributions] == ["j", "b", "k"] and len(analysis.subsets) == 7
    assert analysis.diversity.names == analysis.calibration.names == ("j", "b", "k")
    assert analysis.temperatures is None and analysis.calibration.top1_before == analysis.fusion.metrics.top1


def test_temperatures_are_applied_where_they_are_wanted():
    heated = analyse(PARTS, [2, 1, 1], heat=True)
    temperatures = fit_temperatures(cross_evidence(PARTS)).applied
    expected = fuse(PARTS, [2, 1, 1], temperatures=temperatures)
    np.testing.assert_allclose(heated.fusion.scores.scores, expected.scores.scores, rtol=1e-5)
    assert heated.calibration.top1_after == heated.fusion.metrics.top1
    assert "they are applied" in next(s for s in sections(heated) if s.name == "calibration").notes[0]


def test_report_is_complete(page, analysis):
    files = {path.name for path in page.parent.iterdir()}
    tables = {"report", "weights", "contributions", "diversity", "calibration", "subsets", "confused_pairs"}
    figures = {"table", "weights", "contributions", "diversity", "reliability", "confusion", "confused_pairs"}
    assert files == {f"{n}.csv" for n in tables} | {f"{n}.png" for n in figures} | {"report.md", "fused.npz"}
    text = page.read_text()
    assert text.startswith("# Six streams\n") and "- fused by logits" in text and "a \\| b" in text
    for figure in figures:
        assert text.count(f"]({figure}.png)") == 1
        assert (page.parent / f"{figure}.png").stat().st_size > 5000
    assert "weights cross-fitted over 5 folds of the test clips" in text.lower()
    np.testing.assert_array_equal(load_scores(page.parent / "fused.npz").scores, analysis.fusion.scores.scores)


def test_tables_hold_the_numbers(page, analysis):
    folder = page.parent
    parts = read(folder / "contributions.csv")
    assert [float(line["drop"]) for line in parts] == pytest.approx([100 * p.drop for p in analysis.contributions])
    pairs = read(folder / "diversity.csv")
    assert len(pairs) == 3 and float(pairs[0]["disagreement"]) >= float(pairs[1]["disagreement"])
    weights = read(folder / "weights.csv")
    assert [float(line["weight"]) for line in weights] == pytest.approx(analysis.weights.mean.tolist())
    assert len(read(folder / "subsets.csv")) == 7
    heat = read(folder / "calibration.csv")
    assert [line["part"] for line in heat] == ["j", "b", "k", "fused"] and heat[-1]["temperature"] == ""
    assert float(heat[0]["ece_before"]) == pytest.approx(100 * analysis.calibration.before[0].ece)


def test_several_analyses_lie_in_a_folder_each(tmp_path):
    two = [analyse(PARTS[:2], name=name) for name in ("ctrgcn: 2 streams", "all models: 6")]
    page = write_report(tmp_path, "x", rows_of(two[1]), analyses=two)
    assert (tmp_path / "ctrgcn_2_streams" / "diversity.png").is_file() and (tmp_path / "report.csv").is_file()
    assert "](all_models_6/diversity.png)" in page.read_text() and "# ctrgcn: 2 streams\n" in page.read_text()


def test_flawless_parts_have_a_report_too(tmp_path):
    flawless = analyse(make_parts(1, 2, clips=40, strengths=(60, 60)), fit=True)
    page = write_report(tmp_path, "x", rows_of(flawless), analyses=[flawless])
    assert "confused_pairs" not in page.read_text() and flawless.pairs == ()
    assert "| - |" in page.read_text()


def test_sixteen_parts_can_be_drawn(tmp_path):
    parts = [PARTS[i % 3] for i in range(16)]
    many = analyse(parts, names=[f"model/{i}" for i in range(16)], resamples=50)
    text = next(section for section in sections(many) if section.name == "diversity").text()
    assert "and 110 more" in text
    for draw in (plot_diversity, plot_reliability):
        assert draw(many, tmp_path / "many.png").stat().st_size > 5000
    assert format_weights(many.fusion.weights, most=9) == "equal"


def test_what_cannot_be_analysed(tmp_path):
    with pytest.raises(ValueError, match="at least two parts"):
        analyse(PARTS[:1])
    with pytest.raises(ValueError, match="127 subsets; choose at most 6"):
        analyse([PARTS[0]] * 7, subsets=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="a report needs a folder"):
        write_report(tmp_path / "file", "x", [])


def test_fitting_on_the_test_labels_is_shouted():
    text = sections(analyse(PARTS, fit=True, evidence=optimistic_evidence(PARTS)))[0].text()
    assert "FITTED ON THE TEST LABELS" in text


def test_confused_pairs_before_and_after():
    before, after = np.diag([5, 5, 5]), np.diag([5, 5, 5])
    before[0, 1], after[0, 1], before[2, 0], after[1, 2] = 4, 1, 2, 3
    found = confused_pairs(before, after, ["a", "b", "c"])
    assert [(p.true, p.taken_for, p.before, p.after, p.clips) for p in found] == [
        ("a", "b", 4, 1, 9),
        ("b", "c", 0, 3, 5),
        ("c", "a", 2, 0, 7),
    ]
    assert len(confused_pairs(before, after, count=1)) == 1
    assert confused_pairs(before, after)[0].true == "class 0"
    assert before[0, 0] == 5


def test_markdown_and_weights():
    assert markdown_table(["", "a", "b"], [["x", "", "1|2"]]) == "|  | b |\n| --- | ---: |\n| x | 1\\|2 |"
    assert format_weights([0.3333, 0.12345, 2]) == "0.33:0.12:2"
    assert format_weights(range(1, 11), most=9) == "10 weights"
