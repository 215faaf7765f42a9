import csv
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from protogcn.evaluation.ensemble_table import main
from protogcn.evaluation.scores import ScoreFile, load_scores, save_scores

SCRIPTS = Path(__file__).parents[2] / "ensembles"
STREAMS = ("j", "b", "k", "jm", "bm", "km")
BENCHMARK = SimpleNamespace(
    name="nw_ucla",
    title="Northwestern-UCLA",
    published={"CTR-GCN": {"4": 96.5}, "InfoGCN": {"6": 97.0}, "FR-Head": {"j": 94.4, "4": 96.77}},
)
OTHER = SimpleNamespace(
    name="ntu60_xsub", title="NTU RGB+D", published={"ProtoGCN": {"j": 91.54, "2": 92.96, "4": 93.53, "6": 93.81}}
)
CHOICE = {"xview": BENCHMARK, "xsub": OTHER}


def write_runs(folder, names=(*STREAMS, "j-s1", "b-s1", "k-s1"), benchmark="nw_ucla", clips=200):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, clips)
    ids = np.array([f"clip{i:03}" for i in range(clips)])
    for name in names:
        stream, _, seed = name.partition("-s")
        order = rng.permutation(clips)
        scores = (rng.standard_normal((clips, 6)) + 1.6 * np.eye(6)[labels])[order]
        meta = {"benchmark": benchmark, "stream": stream, "seed": int(seed or 0), "model": "protogcn"}
        part = ScoreFile(ids[order], scores, "logits", labels[order], (), meta)
        save_scores(folder / name / "scores_test.npz", part)
    return folder


def lines_of(capsys):
    return capsys.readouterr().out.splitlines()


def test_table_of_both_readings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_runs(Path("runs/nw_ucla/protogcn"))
    assert main(CHOICE, []) == 0
    text = "\n".join(lines := lines_of(capsys))
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("---")) + 1 :]
    assert [line.split()[0] for line in table[:10]] == [*STREAMS, "j-s1", "b-s1", "k-s1", "2"]
    for row in (
        "2 streams: j+b ",
        "4 with motion: j+b+jm+bm ",
        "6 with motion: j+b+k+jm+bm+km ",
        "4 with second seeds: j+j-s1+b+b-s1 ",
        "6 with second seeds: j+j-s1+b+b-s1+k+k-s1 ",
    ):
        assert row in text
    assert "2:2:2:1:1:1" in text and "fused by probabilities" in text
    assert (
        "6 with motion against 6 with second seeds: " in text and "4 with motion against 4 with second seeds: " in text
    )
    assert "97.00 (InfoGCN)" in text and "96.77 (FR-Head)" in text and "protogcn train" not in text


def test_own_published_numbers_and_difference(tmp_path, capsys):
    runs = write_runs(tmp_path / "protogcn", benchmark="ntu60_xsub")
    assert main(CHOICE, ["--split", "xsub", "--runs", str(runs), "--csv", str(tmp_path / "t.csv")]) == 0
    assert "published: ProtoGCN" in capsys.readouterr().out
    with (tmp_path / "t.csv").open(newline="") as file:
        records = {record["name"]: record for record in csv.DictReader(file)}
    assert float(records["j"]["difference"]) == pytest.approx(round(float(records["j"]["top1"]), 2) - 91.54)
    assert records["j-s1"]["published"] == "91.54" and records["b"]["published"] == ""
    six = next(record for name, record in records.items() if name.startswith("6 with motion"))
    assert (six["published"], six["publisher"], six["weights"]) == ("93.81", "ProtoGCN", "2:2:2:1:1:1")


@pytest.mark.parametrize(
    "options, row, weights",
    [
        (["--preset", "ctrgcn"], "4 with motion", "0.6:0.6:0.4:0.4"),
        (["--preset", "infogcn"], "6 with motion", "1.5:1.5:1.5:1:1:1"),
        (["--weights", "3", "2", "1", "1", "1", "0"], "6 with motion", "3:2:1:1:1:0"),
        (["--weights", "j=5", "bm=3"], "4 with second seeds", "5:5:2:2"),
        (["--preset", "equal"], "6 with motion", "1:1:1:1:1:1"),
    ],
)
def test_weights(tmp_path, capsys, options, row, weights):
    runs = write_runs(tmp_path / "protogcn")
    assert main(CHOICE, ["--runs", str(runs), *options]) == 0
    assert f" {weights} " in next(line for line in lines_of(capsys) if line.startswith(row))


def test_plot(tmp_path, capsys):
    runs = write_runs(tmp_path / "protogcn")
    assert main(CHOICE, ["--runs", str(runs), "--plot", str(tmp_path / "t.png"), "--compare", "ctrgcn"]) == 0
    assert (tmp_path / "t.png").stat().st_size > 1000
    assert "96.50" in capsys.readouterr().out


def test_other_seeds(tmp_path, capsys):
    runs = write_runs(tmp_path / "protogcn", ("j-s3", "b-s3", "j-s4", "b-s4", "k"))
    assert main(CHOICE, ["--runs", str(runs), "--seed", "3", "--second-seed", "4"]) == 0
    text = capsys.readouterr().out
    assert "2 streams: j-s3+b-s3 " in text and "4 with second seeds: j-s3+j-s4+b-s3+b-s4 " in text
    assert "--streams k,jm,km,bm" not in text and "--streams k,jm,bm,km --seed 3" in text


def test_the_same_seed_twice_is_no_second_reading(tmp_path, capsys):
    runs = write_runs(tmp_path / "protogcn")
    assert main(CHOICE, ["--runs", str(runs), "--second-seed", "0"]) == 0
    text = capsys.readouterr().out
    assert "with second seeds:" not in text and "2 with motion" not in text


def test_what_is_missing_is_answered_with_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_runs(Path("runs/nw_ucla/protogcn"), ("j", "b", "k", "bm", "j-s1"))
    assert main(CHOICE, []) == 0
    lines = [line.strip() for line in lines_of(capsys)]
    assert any(line.startswith("2 streams: j+b ") for line in lines)
    assert not any(line.startswith(("4 with", "6 with")) for line in lines)
    assert "protogcn train configs/nw_ucla/protogcn.yaml --streams jm,km" in lines
    assert "protogcn train configs/nw_ucla/protogcn.yaml --streams b,k --seed 1" in lines


def test_nothing_at_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(CHOICE, ["--split", "xsub"]) == 2
    text = capsys.readouterr().out
    assert "protogcn train configs/ntu60_xsub/protogcn.yaml --streams j,b,k,jm,bm,km" in text
    assert "runs/ntu60_xsub/protogcn" in text


def test_files_that_cannot_be_used_are_named_and_left_out(tmp_path, capsys):
    runs = write_runs(tmp_path / "protogcn", ("j", "b"))
    write_runs(runs, ("jm",), benchmark="ntu60_xsub")
    (runs / "b" / "scores_test.npz").write_bytes(b"PK broken")
    assert main(CHOICE, ["--runs", str(runs)]) == 0
    text = capsys.readouterr().out
    assert "left out: " in text and "b/scores_test.npz is not an intact .npz" in text
    assert "is of ntu60_xsub, not of nw_ucla" in text and "--streams b,k,jm,bm,km" in text


@pytest.mark.parametrize(
    "options, message",
    [
        (["--preset", "ctr-gcn"], "did you mean 'ctrgcn'"),
        (["--rule", "logit"], "did you mean 'logits'"),
        (["--weights", "1", "2"], "give six"),
        (["--weights", "j=1", "2"], "either all weights have a name"),
        (["--weights", "jb=1"], "unknown stream 'jb'"),
        (["--weights", "j=one"], "must be numbers"),
        (["--weights", "0", "0", "0", "0", "0", "0"], "not all zero"),
        (["--compare", "InfoGNC"], "did you mean 'InfoGCN'"),
    ],
)
def test_bad_options(tmp_path, capsys, options, message):
    runs = write_runs(tmp_path / "protogcn")
    assert main(CHOICE, ["--runs", str(runs), *options]) == 2
    assert message in capsys.readouterr().err


def test_different_clips_are_refused(tmp_path, capsys):
    runs = write_runs(tmp_path / "protogcn", ("j",))
    write_runs(runs, ("b",), clips=150)
    assert main(CHOICE, ["--runs", str(runs)]) == 2
    assert "50 only in j" in capsys.readouterr().err


@pytest.mark.parametrize(
    "script, config",
    [
        ("ntu60_ensemble", "ntu60_xsub"),
        ("ntu120_ensemble", "ntu120_xsub"),
        ("kinetics_ensemble", "kinetics400"),
        ("finegym_ensemble", "finegym"),
        ("nw_ucla_ensemble", "nw_ucla"),
        ("utd_mhad_ensemble", "utd_mhad"),
        ("msr_action3d_ensemble", "msr_action3d"),
        ("utkinect_ensemble", "utkinect"),
        ("sbu_ensemble", "sbu"),
        ("penn_action_ensemble", "penn_action"),
        ("hmdb51_ensemble", "hmdb51"),
        ("ucf101_ensemble", "ucf101"),
        ("diving48_ensemble", "diving48"),
    ],
)
def test_every_script_runs_from_any_folder(tmp_path, script, config):
    result = subprocess.run([sys.executable, SCRIPTS / f"{script}.py"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2 and not result.stderr
    assert f"protogcn train configs/{config}/protogcn.yaml --streams j,b,k,jm,bm,km" in result.stdout


def test_every_benchmark_with_recipes_has_a_script():
    scripts = "".join(path.read_text() for path in SCRIPTS.glob("*_ensemble.py"))
    folders = [path.name for path in (SCRIPTS.parent / "configs").iterdir() if any(path.glob("*.yaml"))]
    missing = [name for name in folders if name not in ("own", "synthetic") and f'"{name}"' not in scripts]
    assert not missing and max(len(path.read_text().splitlines()) for path in SCRIPTS.glob("*.py")) <= 10


def test_several_models(tmp_path, capsys):
    for model in ("protogcn", "ctrgcn"):
        write_runs(tmp_path / "nw_ucla" / model, STREAMS)
    out = tmp_path / "out"
    assert main(CHOICE, ["--models", "protogcn,ctrgcn", "--runs", str(tmp_path), "--csv", str(out / "t.csv")]) == 0
    text = capsys.readouterr().out
    assert "Northwestern-UCLA: ctrgcn in" in text and "all models, fused by probabilities" in text
    assert "6 with motion of all models against those of" in text
    with (out / "t.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    assert {record["model"] for record in records} == {"protogcn", "ctrgcn", ""}
    assert records[-1]["parts"].count("+") == 11


def test_fitted_weights_and_report(tmp_path, capsys):
    runs = write_runs(tmp_path / "protogcn")
    assert main(CHOICE, ["--runs", str(runs), "--fit-weights", "--out", str(tmp_path / "report")]) == 0
    text = capsys.readouterr().out
    assert "weights cross-fitted over 5 folds of the test clips" in text and "Fitted weights" in text
    page = (tmp_path / "report" / "report.md").read_text()
    assert "# Northwestern-UCLA: protogcn" in page and "6 with motion against 6 with second seeds" in page
    assert main(CHOICE, ["--runs", str(runs), "--out", str(tmp_path / "six.npz")]) == 0
    assert load_scores(tmp_path / "six.npz").meta["stream"] == "j+b+k+jm+bm+km"


def test_scores_to_fit_on_must_be_there(tmp_path, capsys):
    runs = write_runs(tmp_path / "protogcn", ("j", "b"))
    for options, message in (
        (["--fit-on", "scores_train.npz"], "has no scores_train.npz of b, j to fit on"),
        (["--fit-on", "a/b.npz"], "takes the name that a score file has in every run folder"),
        (["--fit-weights", "--weights", "j=1"], "weights are fitted or given"),
        (["--models", "protogcn,protogcn"], "different names"),
    ):
        assert main(CHOICE, ["--runs", str(runs), *options]) == 2
        assert message in capsys.readouterr().err


def test_two_runs_of_one_modality_against_joint_and_motion(tmp_path, capsys):
    runs = write_runs(tmp_path / "protogcn")
    assert main(CHOICE, ["--runs", str(runs)]) == 0
    lines = lines_of(capsys)
    assert any(line.startswith("2 with motion: j+jm ") for line in lines)
    assert any(line.startswith("2 with second seeds: j+j-s1 ") for line in lines)
    assert sum("with motion against" in line for line in lines) == 3


@pytest.mark.parametrize("lines", [0, 1, 5])
def test_a_reader_that_leaves_is_no_error(tmp_path, lines):
    write_runs(tmp_path / "runs" / "nw_ucla" / "protogcn")
    for command in (
        [sys.executable, str(SCRIPTS / "nw_ucla_ensemble.py"), "--analyse"],
        [sys.executable, "-m", "protogcn.cli", "ensemble", "--benchmark", "nw_ucla", "--analyse"],
    ):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout and process.stderr
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 0
        process.stderr.close()


def test_fusion_needs_no_heavy_library(tmp_path):
    write_runs(tmp_path / "runs" / "nw_ucla" / "protogcn")
    code = (
        "import runpy, sys\n"
        "try:\n    runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "print([m for m in ('torch', 'matplotlib', 'sklearn', 'scipy', 'networkx') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(SCRIPTS / "nw_ucla_ensemble.py")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.endswith("[]\n"), result.stdout + result.stderr


def test_real_streams_through_the_table(tmp_path, shared_data, capsys):
    runs = tmp_path / "fr_head"
    with np.load(shared_data / "frhead_nw_ucla_scores.npz") as data:
        for stream in ("j", "b", "jm", "bm"):
            part = ScoreFile(data["names"], data[stream], "logits", data["labels"], (), {"stream": stream})
            save_scores(runs / stream / "scores_test.npz", part)
    assert main(CHOICE, ["--runs", str(runs), "--model", "FR-Head", "--preset", "ctrgcn"]) == 0
    cells = next(line for line in lines_of(capsys) if line.startswith("4 with motion")).split()
    assert "96.77" in cells[cells.index("0.6:0.6:0.4:0.4") + 1] and "+0.00" in cells
