"""The suite as its user meets it: rows by name, tiny runs of all of them, files that another program can read."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from protogcn.bench import networks, plain, subjects
from protogcn.bench.machine import commit, machine_facts
from protogcn.bench.report import in_words, markdown, plot_growth, plot_ratios
from protogcn.bench.rows import Result, Row, Settings
from protogcn.bench.suite import GROUPS, all_rows, choose, run_suite
from protogcn.cli import main
from protogcn.models import list_models

QUICK = Settings(quick=True, clips=100)
ROW_KEYS = {"name", "what", "unit", "quantity", "items", "rounds", "alternatives", "exponent"}
WAY_KEYS = {"name", "figures", "spread", "ratio", "per_second", "deviation", "warm_up", "error", "size"}
# Rows whose every alternative is a process that imports torch.
SLOW = ("memory", "startup", "process", "growth")
NETWORKS = ("forward", "train", "six")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return all_rows(QUICK)


def test_rows_have_names_of_their_own_and_a_group(rows: list[Row]) -> None:
    assert len({row.name for row in rows}) == len(rows)
    assert {row.name.split("/")[0] for row in rows} == set(GROUPS)
    for group in ("forward", "train"):
        assert {row.name.split("/")[1] for row in rows if row.name.startswith(group)} == set(list_models())


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["forward/protogcn"], ["forward/protogcn", "forward/protogcn/mix"]),
        (["train/ctrgcn/mix", "store/open"], ["train/ctrgcn/mix", "store/open"]),
        (["six/*gcn"], ["six/protogcn", "six/ctrgcn", "six/infogcn"]),
        (["heatmaps/"], ["heatmaps/joint", "heatmaps/limb"]),
    ],
)
def test_rows_are_chosen_by_name_beginning_or_pattern(rows: list[Row], words: list[str], names: list[str]) -> None:
    assert [row.name for row in choose(rows, words)] == names


def test_growth_is_measured_on_request_only(rows: list[Row]) -> None:
    assert not any(row.name.startswith("growth") for row in choose(rows, []))
    assert all(row.name.startswith("growth") for row in choose(rows, ["growth"]))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["forwrd/protogcn"], "unknown row of the suite 'forwrd/protogcn'; did you mean 'forward/protogcn'"),
        (["zzz"], "Groups: forward, train, operations"),
        (["forward", "--alternatives", "ours,optimized"], "unknown alternative 'optimized'"),
        (["--threads", "-1"], "--threads must be at least 0; got -1"),
        (["--gpu-report", "--quick", "text"], "--gpu-report has rows of its own; leave out text"),
    ],
)
def test_what_does_not_exist_is_told_in_one_message(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words, "--quick", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected in error
    assert not (tmp_path / "out").exists()


def check(document: dict[str, Any], names: list[str]) -> None:
    """The schema, and figures wherever nothing says why there are none."""
    assert document["format"] == "protogcn-bench" and document["version"] == 1
    assert set(document) == {
        *("format", "version", "command", "started", "finished", "machine", "load", "settings", "rows")
    }
    assert [row["name"] for row in document["rows"]] == names
    for row in document["rows"]:
        assert set(row) == ROW_KEYS
        for way in row["alternatives"]:
            assert set(way) == WAY_KEYS
            if way["error"]:
                assert way["error"].startswith("left out: "), (row["name"], way["name"], way["error"])
            else:
                assert len(way["figures"]) == row["rounds"] == 1
                assert way["spread"]["low"] > 0


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in (*SLOW, *NETWORKS)])
def test_every_row_runs_in_small(group: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", group, "--quick", "--clips", "60", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "bench.json").read_text())
    expected = [row.name for row in all_rows(QUICK) if row.name.split("/")[0] == group]
    check(document, expected)
    assert document["finished"] and document["command"].startswith(f"protogcn bench {group} --quick")
    said = capsys.readouterr().out
    table = (tmp_path / "bench.md").read_text()
    for name in expected:
        assert f"] {name} (" in said
        assert re.search(rf"^\| {re.escape(name)} \|", table, re.MULTILINE)


def test_ours_equals_the_plain_reading_where_they_are_compared(tmp_path: Path) -> None:
    document = run_suite(["forward/protogcn", "forward/stgcnpp/mix", "heatmaps", "fusion", "text"], QUICK, tmp_path)
    compared = 0
    for row in document["rows"]:
        for way in row["alternatives"]:
            if way["deviation"] is not None:
                limit = 0.1 if way["name"].startswith("bf16") else 1e-4
                assert way["deviation"] < limit, (row["name"], way["name"])
                compared += 1
    assert compared > 8


def test_all_files_are_written(tmp_path: Path) -> None:
    run_suite(["fusion", "growth/store-read"], QUICK, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"bench.json", "bench.md", "ratios.png", "growth.png"}
    assert "| growth of | power of the size |" in (tmp_path / "bench.md").read_text()


def test_the_list_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "forward/protogcn", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "N=8 M=2 T=100 V=25 C=3" in lines[2] and "plain, ours, optimised" in lines[2]
    assert "3 of 16 clips with two persons" in lines[3]


def test_an_installed_package_says_which_comparisons_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reason = plain.missing(tmp_path / "nowhere")
    assert reason and "in a checkout only" in reason
    with pytest.raises(FileNotFoundError, match="in a checkout only"):
        plain.references(tmp_path / "nowhere")
    monkeypatch.setattr(plain, "missing", lambda: reason)
    found = {row.name: row for row in all_rows(QUICK)}
    for name in (
        "forward/protogcn",
        "train/infogcn",
        "memory/train/protogcn",
        "pipeline/protogcn_3d/j",
        "heatmaps/limb",
    ):
        assert "plain" not in found[name].alternatives
        assert found[name].left_out["plain"] == reason
    assert set(found["six/ctrgcn"].alternatives) == {"ours", "stacked", "together", "together-bf16"}
    document = run_suite(["heatmaps/limb"], QUICK, tmp_path / "out")
    assert document["rows"][0]["alternatives"][-1] == {
        **dict.fromkeys(WAY_KEYS),
        **{"name": "plain", "figures": (), "error": f"left out: {reason}"},
    }


def test_results_survive_json(tmp_path: Path) -> None:
    document = run_suite(["heatmaps/joint", "growth/store-open"], QUICK, tmp_path)
    for row in json.loads(json.dumps(document["rows"])):
        assert json.loads(json.dumps(Result.from_dict(row).as_dict())) == row


def test_reports_of_nothing(tmp_path: Path) -> None:
    assert plot_ratios([], tmp_path / "a.png") is plot_growth([], tmp_path / "b.png") is None
    assert "Load average" in markdown([], machine_facts(), {}, "protogcn bench")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("figure", "quantity", "words"),
    [
        *((0.647, "seconds", "647 ms"), (2.11, "seconds", "2.11 s"), (3.2e-6, "seconds", "3.2 us")),
        *((5e-10, "seconds", "0.5 ns"), (1234.0, "seconds", "1,234 s"), (4860.4, "megabytes", "4,860 MB")),
    ],
)
def test_figures_in_words(figure: float, quantity: str, words: str) -> None:
    assert in_words(figure, quantity) == words


def test_the_machine_is_described() -> None:
    facts = machine_facts()
    json.dumps(facts)
    assert facts["processor"] and facts["threads"] >= 1 and facts["usable_cores"] <= facts["cores"]
    assert commit(Path(__file__).parent) is None


def test_mixes_are_those_of_ntu() -> None:
    case = subjects.Case("protogcn", mix=True)
    assert case.shape == (16, 2, 100, 25, 3)
    two = case.clips()[:, 1].flatten(1).any(1)
    assert two.sum() == case.two_person_clips == 3
    assert subjects.Case("ctrgcn").shape == (8, 2, 64, 25, 3)


def test_networks_with_plain_readings_come_first() -> None:
    assert networks.models()[:4] == list(plain.NETWORKS)
    assert sorted(networks.models()) == list_models()
    assert set(plain.references().FRAMES) == set(plain.NETWORKS)


PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()


@pytest.mark.parametrize("line", re.findall(r"^    protogcn bench(.*)$", PAGE, re.MULTILINE))
def test_lines_of_the_page_name_rows_that_exist(line: str, rows: list[Row]) -> None:
    words = shlex.split(re.split(" {2,}", line)[0])
    names = [word for word in words if not word.startswith("--") and words[words.index(word) - 1] != "--alternatives"]
    if "--gpu-report" not in words:
        assert choose(rows, names)


def test_the_page_s_own_row_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(block, {})
    assert capsys.readouterr().out.startswith("Ratio(median=")
