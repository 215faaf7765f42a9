import os
import pickle

import numpy as np
import pytest

from protogcn.evaluation.clip_list import ClipList, read_clip_list
from protogcn.evaluation.foreign import clips_in, import_scores, read_scores, split_array
from protogcn.evaluation.metrics import softmax
from protogcn.evaluation.scores import ScoreFile, save_scores

LOGITS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
IDS = np.array([f"S001C001P00{i}R001A001" for i in range(6)])
LABELS = np.array([0, 1, 2, 3, 0, 1])
CLIPS = ClipList(LABELS, IDS, ("sit", "stand", "throw", "carry"))


def write(path, data, protocol=4):
    path.write_bytes(pickle.dumps(data, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pyskl_list_follows_the_order_of_the_clips(tmp_path, protocol):
    path = write(tmp_path / "best_pred.pkl", list(softmax(LOGITS)), protocol)
    scores = import_scores(path, clips=CLIPS)
    np.testing.assert_allclose(scores.scores, softmax(LOGITS))
    assert scores.ids.tolist() == IDS.tolist() and scores.kind == "probabilities"
    assert scores.meta["kind_from"] == "detected: rows sum to 1" and scores.name == "best_pred"
    assert scores.class_names == CLIPS.class_names


def test_ctrgcn_dict_is_matched_by_name(tmp_path):
    order = [3, 0, 5, 1, 4, 2]
    path = write(tmp_path / "epoch1_test_score.pkl", {str(IDS[i]): LOGITS[i] for i in order})
    scores = import_scores(path, clips=CLIPS, name="j")
    assert scores.kind == "logits" and scores.name == "j"
    np.testing.assert_array_equal(scores.labels, LABELS[order])
    np.testing.assert_array_equal(scores.scores, LOGITS[order])


@pytest.mark.parametrize("form", ["test_{}", "{}", 0])
def test_dict_that_counts_its_clips_is_matched_by_number(tmp_path, form):
    order = [3, 0, 5, 1, 4, 2]
    path = write(tmp_path / "a.pkl", {i if form == 0 else form.format(i): LOGITS[i] for i in order})
    scores = import_scores(path, clips=CLIPS)
    assert scores.ids.tolist() == IDS[order].tolist()
    np.testing.assert_array_equal(scores.labels, LABELS[order])


def test_npy_and_list_without_ids_are_numbered(tmp_path):
    np.save(tmp_path / "A.npy", LOGITS)
    scores = import_scores(tmp_path / "A.npy", clips=ClipList(LABELS))
    assert scores.ids.tolist() == list("012345")
    other = import_scores(write(tmp_path / "a.pkl", list(LOGITS)), clips=ClipList(LABELS))
    np.testing.assert_array_equal(scores.scores, other.scores)


def test_clip_axis_of_length_one_is_dropped(tmp_path):
    scores = import_scores(write(tmp_path / "a.pkl", [row[None] for row in LOGITS]), clips=CLIPS)
    np.testing.assert_array_equal(scores.scores, LOGITS)


def test_npz_with_several_matrices(tmp_path):
    path = tmp_path / "all.npz"
    np.savez(path, j=LOGITS, b=-LOGITS, labels=LABELS.astype(np.int16), names=IDS)
    np.testing.assert_array_equal(import_scores(f"{path}:b").scores, -LOGITS)
    clips = clips_in(f"{path}:b")
    assert import_scores(f"{path}:b").name == "b" and clips and clips.ids is not None and list(clips.ids) == list(IDS)
    for wrong in (path, f"{path}:k"):
        with pytest.raises(ValueError, match=r"all\.npz:NAME with NAME one of j, b"):
            import_scores(wrong)
    with pytest.raises(ValueError, match="its own labels are not those given"):
        import_scores(f"{path}:j", clips=ClipList(np.roll(LABELS, 1), IDS))


def test_stacked_streams_of_an_npz(tmp_path):
    path = tmp_path / "stack.npz"
    np.savez(path, scores=np.stack([LOGITS, 2 * LOGITS]), stream=np.array(["gcn/k1", "gcn/k8"]), label=LABELS)
    np.testing.assert_array_equal(import_scores(f"{path}:gcn/k8").scores, 2 * LOGITS)


def test_own_files_pass_through(tmp_path):
    path = save_scores(tmp_path / "a.npz", ScoreFile(IDS, LOGITS, "logits", LABELS, (), {"stream": "jm"}))
    clips = clips_in(path)
    assert read_scores(path).name == "jm" and clips and clips.ids is not None and list(clips.ids) == list(IDS)
    assert split_array("runs/a.npz:j") == (split_array("runs/a.npz")[0], "j")


def test_kind_may_be_given_and_is_checked(tmp_path):
    path = write(tmp_path / "a.pkl", list(LOGITS))
    assert import_scores(path, clips=CLIPS, kind="logits").meta["kind_from"] == "given"
    with pytest.raises(ValueError, match="are they logits"):
        import_scores(path, clips=CLIPS, kind="probabilities")
    with pytest.raises(ValueError, match="did you mean 'logits'"):
        import_scores(path, clips=CLIPS, kind="logit")


class Evil:
    def __reduce__(self):
        return os.system, ("echo ran",)


@pytest.mark.parametrize(
    "data, clips, message",
    [
        ([Evil()], CLIPS, "asks for (posix|nt).system"),
        (list(LOGITS), None, "holds no labels; add them with --labels"),
        (list(LOGITS), ClipList(LABELS[:5]), "got 5 labels for 6 rows"),
        ([*LOGITS[:5], LOGITS[5, :3]], CLIPS, "one score vector of equal length"),
        ([1, 2, 3], CLIPS, "one score vector of equal length"),
        ([np.zeros((10, 4))] * 6, CLIPS, "Average several clips"),
        (
            {f"x{i}": row for i, row in enumerate(LOGITS)},
            CLIPS,
            "6 of its 6 clips are not among the labels, such as x0",
        ),
        ({f"x{i}": row for i, row in enumerate(LOGITS)}, ClipList(LABELS), "the labels need names too"),
        (list(np.full((6, 4), np.nan)), CLIPS, "NaN"),
        ({}, CLIPS, "holds a dict"),
        ("text", CLIPS, "holds a str"),
        (np.array(3.0), CLIPS, "holds a ndarray"),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path, data, clips, message):
    path = write(tmp_path / "bad.pkl", data)
    with pytest.raises(ValueError, match=message) as caught:
        import_scores(path, clips=clips)
    assert "bad.pkl" in str(caught.value)


def test_npy_of_objects_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, None], dtype=object))
    with pytest.raises(ValueError, match="not an intact"):
        import_scores(tmp_path / "a.npy", clips=CLIPS)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        import_scores(tmp_path / "none.npy", clips=CLIPS)


ANNOTATIONS = {
    "split": {"xsub_train": [str(IDS[5])], "xsub_val": [str(name) for name in IDS[:5]]},
    "annotations": [{"frame_dir": str(IDS[i]), "label": int(LABELS[i])} for i in (5, 3, 0, 1, 4, 2)],
}


@pytest.mark.parametrize(
    "data, split, ids, labels",
    [
        (LABELS.tolist(), None, None, LABELS.tolist()),
        (LABELS, None, None, LABELS.tolist()),
        ((IDS.tolist(), LABELS.tolist()), None, IDS.tolist(), LABELS.tolist()),
        (ANNOTATIONS, "xsub_val", [str(IDS[i]) for i in (3, 0, 1, 4, 2)], [3, 0, 1, 0, 2]),
        ([{"file_name": "a01_s01_e00_v03", "length": 9, "label": 10}], None, ["a01_s01_e00_v03"], [9]),
    ],
)
def test_labels_from_pickles(tmp_path, data, split, ids, labels):
    clips = read_clip_list(write(tmp_path / "labels.pkl", data), split)
    assert clips.labels.tolist() == labels and clips.labels.dtype == np.int64
    assert (None if clips.ids is None else clips.ids.tolist()) == ids


def test_labels_from_csv_npy_and_npz(tmp_path):
    (tmp_path / "a.csv").write_text("id,label\n" + "".join(f"{i},{c}\n" for i, c in zip(IDS, LABELS, strict=True)))
    np.save(tmp_path / "a.npy", LABELS)
    np.savez(tmp_path / "a.npz", names=IDS, label=LABELS, class_names=np.array(["sit", "stand"]))
    for name, ids in (("a.csv", IDS.tolist()), ("a.npy", None), ("a.npz", IDS.tolist())):
        clips = read_clip_list(tmp_path / name)
        assert clips.labels.tolist() == LABELS.tolist()
        assert (None if clips.ids is None else clips.ids.tolist()) == ids
    assert read_clip_list(tmp_path / "a.npz").class_names == ("sit", "stand")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", b"name,class\n", "needs the columns id,label"),
        ("a.csv", b"id,label\na,0\nb,run\n", "line 3: label 'run' is not a whole number"),
        ("a.csv", b"id,label\n", "one whole-number label per clip"),
        ("a.pkl", pickle.dumps(ANNOTATIONS), "has the splits xsub_train, xsub_val; say which"),
        ("a.pkl", pickle.dumps({"split": {"x": []}, "annotations": [1]}), "say which|must be dicts"),
        ("a.pkl", pickle.dumps([{"frame_dir": "a", "label": [1, 2]}]), "one whole-number label per clip"),
        ("a.pkl", pickle.dumps({"a": 1}), "no labels in a known form"),
        ("a.pkl", pickle.dumps(["a", "b", "c"]), "no labels in a known form"),
        ("a.pkl", b"junk", "not a complete pickle"),
    ],
)
def test_bad_clip_lists(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_clip_list(tmp_path / name)


def test_frhead_as_written_by_its_code(tmp_path, shared_data):
    with np.load(shared_data / "frhead_nw_ucla_scores.npz") as data:
        logits, labels, names = data["j"], data["labels"], data["names"]
    path = write(tmp_path / "epoch_test_score.pkl", dict(enumerate(logits)))
    scores = import_scores(path, clips=ClipList(labels, names))
    assert round(100 * np.mean(scores.scores.argmax(axis=1) == scores.labels), 2) == 94.40
    assert scores.kind == "logits"
