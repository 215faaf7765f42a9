"""From a source to a store in one call, and its summary; the examples of docs/own_data.md are run as printed."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from protogcn.data.prepare import describe, prepare
from protogcn.data.store import Clip, ClipStore, write_store

PAGE = Path(__file__).parents[2] / "docs" / "own_data.md"
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
YAML, NPZ, FOLDER, LABELS, LONG, WIDE = (text for _, text in BLOCKS)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hand.yaml").write_text(YAML)
    return tmp_path


def own(source, **options):
    return prepare("own", source, "store", skeleton="hand.yaml", **options)


def test_documented_npz(here):
    exec(NPZ, {})
    store = own("clips.npz")
    assert [c.keypoints.shape for c in store] == [(1, 3, 3, 2), (1, 4, 3, 2)]
    assert store.class_names == ("clap", "wave") and store.labels.tolist() == [1, 0]
    assert store.split("train").tolist() == [0] and store.split("test").tolist() == [1]


def test_documented_folder(here):
    exec(FOLDER, {})
    store = own("clips")
    assert store.ids == ("test/wave/c", "train/clap/b", "train/wave/a")
    assert store.labels.tolist() == [1, 0, 1] and store.split("train").tolist() == [1, 2]


def test_documented_table_of_labels(here):
    Path("clips").mkdir()
    for name in ("a", "b"):
        np.save(f"clips/{name}.npy", np.ones((2, 3, 2)))
    Path("clips/labels.csv").write_text(LABELS)
    store = own("clips")
    assert store.class_names == ("clap", "wave") and store.labels.tolist() == [1, 0]
    assert store.split("test").tolist() == [1]


def test_documented_tables_are_the_same_clips(here):
    Path("long.csv").write_text(LONG)
    Path("wide.csv").write_text(WIDE)
    long, wide = own("long.csv"), own("wide.csv", overwrite=True)
    assert long.meta["checksums"] == wide.meta["checksums"]
    assert wide[0].keypoints.shape == (1, 2, 3, 2) and wide[1].keypoints.shape == (1, 1, 3, 2)
    np.testing.assert_array_equal(wide[0].keypoints[0, 1], np.float32([[0.1, 0.3], [0, 0], [0.2, 0.4]]))


def test_class_names_from_a_file_or_a_list(here):
    exec(NPZ, {})
    Path("names.txt").write_text("wave\n\nclap\nbow\n")
    for names in ("names.txt", ["wave", "clap", "bow"]):
        store = own("clips.npz", class_names=names, overwrite=True)
        assert store.class_names == ("wave", "clap", "bow") and store.labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match="unknown class 'wave'; did you mean 'wafe'"):
        own("clips.npz", class_names=["wafe", "clap"], overwrite=True)


def ntu_pickle(path, joints=25, label=3, splits=("xsub_train", "xsub_val")):
    keypoints = np.ones((1, 4, joints, 3), np.float16)
    annotations = [{"frame_dir": n, "label": label, "total_frames": 4, "keypoint": keypoints} for n in "ab"]
    content = {"split": {splits[0]: ["a"], splits[1]: ["b"]}, "annotations": annotations}
    path.write_bytes(pickle.dumps(content))
    return path


def test_benchmark_from_a_pickle(tmp_path):
    store = prepare("ntu60_xsub", ntu_pickle(tmp_path / "n.pkl"), tmp_path / "store")
    assert store.num_classes == 60 and store.skeleton.name == "ntu25" and store.dtype == np.float16
    assert store.class_names[3] == "brush hair" and store.split("xsub_val").tolist() == [1]
    assert store.meta["benchmark"] == "ntu60_xsub"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": 17}, r"17 joints per person.*ntu25 has 25.*coco17"),
        ({"label": 60}, "labels up to 60, but ntu60_xsub has 60 classes"),
        ({"splits": ("xset_train", "xset_val")}, "has the splits xset_train.*needs xsub_train"),
    ],
)
def test_pickle_of_another_benchmark(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        prepare("ntu60_xsub", ntu_pickle(tmp_path / "n.pkl", **changes), tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("benchmark", "source", "options", "error", "message"),
    [
        ("ntu60", "s.pkl", {}, ValueError, "unknown benchmark 'ntu60'.*ntu60_xsub"),
        ("own", "s.pkl", {}, ValueError, "layout of their joints.*coco17"),
        (None, "s.pkl", {"skeleton": "coco71"}, ValueError, "coco17"),
        ("nw_ucla", "missing", {}, FileNotFoundError, "nothing at missing; expected the folder all_sqe"),
        ("own", "s.txt", {"skeleton": "coco17"}, ValueError, "no format that is read.*own_data.md"),
        ("nw_ucla", "s.txt", {}, ValueError, "not NW-UCLA data"),
        ("own", "s.txt", {"skeleton": "coco17", "class_names": "no.txt"}, FileNotFoundError, "no.txt"),
    ],
)
def test_wrong_requests(here, benchmark, source, options, error, message):
    for name in ("s.pkl", "s.txt"):
        Path(name).write_bytes(b"?")
    with pytest.raises(error, match=message):
        prepare(benchmark, source, "store", **options)
    assert not Path("store").exists()


def test_a_taken_path_is_noticed_before_reading(here):
    exec(NPZ, {})
    own("clips.npz")
    Path("clips.npz").write_bytes(b"no longer readable")
    with pytest.raises(FileExistsError, match="--overwrite"):
        own("clips.npz")
    with pytest.raises(ValueError, match="not a complete"):
        own("clips.npz", overwrite=True)
    assert len(ClipStore.open("store")) == 2, "the old store outlives a conversion that fails"


def test_description(tmp_path):
    hurt = np.ones((2, 5, 25, 3), np.float32)
    hurt[0, 0, 3] = np.nan
    clips = [Clip(hurt, 0, "hurt"), Clip(hurt[:1] * 0, 1, "blank"), Clip(hurt[:1, 1:3], 0, "short")]
    store = write_store(
        tmp_path / "s", clips, skeleton="ntu25", class_names=["a", "b"], splits={"train": [0, 1]}, source="x.pkl"
    )
    text = describe(store)
    for part in ("2 clips of 2 classes", "ntu25, 25 joints, xyz, float32", "2 to 5 per clip", "1 to 2 per clip"):
        assert part in text
    for part in (
        "train 1",
        "0 to 2 clips each, 1 without any",
        "zero: 1 (blank)",
        "(zero): 1 in 1 of the clips (hurt)",
        "x.pkl",
    ):
        assert part in text
