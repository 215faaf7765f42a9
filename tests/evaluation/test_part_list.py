import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from score_parts import make_parts

from protogcn.evaluation.ensemble import fuse
from protogcn.evaluation.metrics import softmax
from protogcn.evaluation.part_list import parse_weights, read_parts
from protogcn.evaluation.scores import save_scores

PARTS = make_parts(0, 4, clips=40)
LABELS = PARTS[0].labels
# Plain matrices in one order, as other projects write them.
MATRICES = [part.scores[np.argsort(part.ids)] for part in PARTS]


def top1(parts, rule="logits"):
    return fuse(parts, None, rule).metrics.top1


EXPECTED = top1(PARTS)


@pytest.fixture
def results(tmp_path):
    """results/<model>/<stream>/A.npy, with a label file among them."""
    for index, (model, stream) in enumerate([("gcn", "k1"), ("gcn", "k8"), ("mix", "k1"), ("mix", "k8")]):
        folder = tmp_path / "results" / model / stream
        folder.mkdir(parents=True)
        np.save(folder / "A.npy", MATRICES[index])
    np.save(tmp_path / "results" / "label.npy", LABELS)
    return tmp_path / "results"


def test_matrices_in_folders_are_named_by_their_folders(results):
    files = sorted(results.glob("*/*/A.npy"))
    names, parts = read_parts(files, labels=results / "label.npy")
    assert names == ["gcn/k1", "gcn/k8", "mix/k1", "mix/k8"] == [part.name for part in parts]
    assert top1(parts) == EXPECTED and parts[0].meta["ids_from"] == "position"
    assert read_parts(files[:2], labels=results / "label.npy")[0] == ["k1", "k8"]


@pytest.mark.parametrize(
    "patterns, names",
    [
        (["gcn*"], ["gcn/k1", "gcn/k8"]),
        (["*/k8"], ["gcn/k8", "mix/k8"]),
        (["k8", "mix/k1"], ["gcn/k8", "mix/k8", "mix/k1"]),
        (["mix/*", "gcn/*"], ["mix/k1", "mix/k8", "gcn/k1", "gcn/k8"]),
        (["*/A"], ["gcn/k1", "gcn/k8", "mix/k1", "mix/k8"]),
        (["*", "k1"], ["gcn/k1", "gcn/k8", "mix/k1", "mix/k8"]),
    ],
)
def test_a_folder_and_patterns(results, patterns, names):
    assert read_parts([results], patterns=patterns, labels=results / "label.npy")[0] == names


def test_what_is_not_there(results, tmp_path):
    with pytest.raises(ValueError, match="no part is called 'infogcn\\*'; there are gcn/k1, gcn/k8"):
        read_parts([results], patterns=["infogcn*"], labels=results / "label.npy")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no score files"):
        read_parts([tmp_path / "empty"])
    with pytest.raises(ValueError, match="holds no labels; add them with --labels"):
        read_parts([results / "gcn"])
    with pytest.raises(ValueError, match=r"expected numbers of shape \(clips, classes\)"):
        read_parts([results])
    with pytest.raises(ValueError, match="got 1 names for 2 parts"):
        read_parts([results / "gcn"], names=["j"], labels=results / "label.npy")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_parts([results / "gcn" / "B.npy"], labels=results / "label.npy")


def test_streams_of_one_npz(tmp_path):
    names = ["gcn/k1", "gcn/k8", "mix/k1", "mix/k8"]
    np.savez(tmp_path / "stack.npz", scores=np.stack(MATRICES), stream=np.array(names), label=LABELS.astype(np.int16))
    np.savez(tmp_path / "each.npz", **dict(zip("abcd", MATRICES, strict=True)), label=LABELS, top1=np.arange(4.0))
    np.savez(tmp_path / "bare.npz", preds=np.stack(MATRICES), labels=LABELS)
    assert read_parts([tmp_path / "stack.npz"])[0] == names
    assert read_parts([tmp_path / "each.npz"])[0] == list("abcd")
    assert read_parts([tmp_path / "bare.npz"])[0] == ["preds0", "preds1", "preds2", "preds3"]
    for file in ("stack", "each", "bare"):
        assert top1(read_parts([tmp_path / f"{file}.npz"])[1]) == EXPECTED
    assert read_parts([f"{tmp_path}/stack.npz:mix/k1"])[0] == ["mix/k1"]
    assert read_parts([tmp_path / "stack.npz", tmp_path / "each.npz"], patterns=["mix*", "a"])[0] == [*names[2:], "a"]
    with pytest.raises(ValueError, match=r"holds no matrix 'x'; write each\.npz:NAME with NAME one of a, b, c, d"):
        read_parts([f"{tmp_path}/each.npz:x"])


def test_other_matrices_of_an_npz_are_no_streams(tmp_path):
    hot = np.eye(6)[LABELS]
    np.savez(tmp_path / "a.npz", j=MATRICES[0], confusion=np.eye(6), y_test=hot, features=np.zeros((40, 3, 2)))
    assert read_parts([tmp_path / "a.npz"])[0] == ["j"]
    np.savez(tmp_path / "b.npz", confusion=np.eye(6), label=LABELS)
    with pytest.raises(ValueError, match=r"no matrix of scores \(clips, classes\) of its 40 clips; it holds confusion"):
        read_parts([tmp_path / "b.npz"])


def test_names_of_clips_are_taken_from_whichever_file_has_them(tmp_path):
    np.savez(tmp_path / "bare.npz", j=MATRICES[0], label=LABELS)
    named = save_scores(tmp_path / "named.npz", PARTS[0])
    _, (first, second) = read_parts([tmp_path / "bare.npz", named])
    assert first.ids.tolist() == second.ids.tolist() and top1([first, second]) == top1([PARTS[0]])


def dumped(form):
    if form == "dict":
        return {f"test_{i}": row for i, row in enumerate(MATRICES[0])}
    if form == "lists":
        return MATRICES[0].tolist()
    if form == "tuple":
        return tuple(MATRICES[0])
    if form == "column":
        return MATRICES[0][:, :, None]
    return [
        {"pred_scores": {"item": row}, "gt_labels": {"item": np.array([label])}}
        if form == "nested"
        else {"pred_score": row, "gt_label": int(label)}
        for row, label in zip(MATRICES[0], LABELS, strict=True)
    ]


@pytest.mark.parametrize("form", ["dict", "lists", "tuple", "column", "samples", "nested"])
def test_pickles_of_other_projects(tmp_path, form):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(dumped(form)))
    np.save(tmp_path / "label.npy", LABELS[:, None].astype(float))
    labels = None if form in ("samples", "nested") else tmp_path / "label.npy"
    _, (part,) = read_parts([tmp_path / "a.pkl"], labels=labels)
    np.testing.assert_allclose(part.scores, MATRICES[0])
    np.testing.assert_array_equal(part.labels, LABELS)


def test_a_pickled_dict_of_streams(tmp_path):
    (tmp_path / "all.pkl").write_bytes(pickle.dumps(dict(zip("abcd", MATRICES, strict=True))))
    np.save(tmp_path / "label.npy", LABELS)
    names, parts = read_parts([tmp_path / "all.pkl"], patterns=["b", "c"], labels=tmp_path / "label.npy")
    assert names == ["b", "c"] and top1(parts) == top1([PARTS[1], PARTS[2]])


@pytest.mark.parametrize(
    "data, message",
    [
        ([{"pred_score": MATRICES[0][0]}, {"other": 1}], "without pred_score or pred_scores"),
        ([[1.0, 2.0], [1.0]], "one score vector of equal length"),
        ([["a", "b"], ["a", "b"]], "one score vector of equal length"),
        (np.zeros((2, 3, 4)), "under a name each in an .npz"),
    ],
)
def test_pickles_that_hold_something_else(tmp_path, data, message):
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(ValueError, match=message) as caught:
        read_parts([tmp_path / "bad.pkl"])
    assert "bad.pkl" in str(caught.value)


def test_labels_of_one_hot_rows_and_of_text(tmp_path):
    np.save(tmp_path / "a.npy", MATRICES[0])
    np.savez(tmp_path / "ntu.npz", x_test=np.zeros((2, 2)), y_test=np.eye(6)[LABELS])
    (tmp_path / "label.txt").write_text("".join(f"{label}\n" for label in LABELS))
    (tmp_path / "list.txt").write_text("".join(f"video {i}.mp4 {label}\n" for i, label in enumerate(LABELS)))
    for file in ("ntu.npz", "label.txt", "list.txt"):
        _, (part,) = read_parts([tmp_path / "a.npy"], labels=tmp_path / file)
        np.testing.assert_array_equal(part.labels, LABELS)
    assert part.ids[0] == "video 0.mp4"
    (tmp_path / "bad.txt").write_text("3\nvideo 1\n")
    with pytest.raises(ValueError, match=r"bad\.txt, entry 2: expected a label"):
        read_parts([tmp_path / "a.npy"], labels=tmp_path / "bad.txt")
    np.savez(tmp_path / "two.npz", y_test=np.ones((40, 6)))
    with pytest.raises(ValueError, match="must be one-hot"):
        read_parts([tmp_path / "a.npy"], labels=tmp_path / "two.npz")


def test_own_runs_of_two_models_and_a_run_folder(tmp_path):
    for model in ("protogcn", "ctrgcn"):
        for part in PARTS[:2]:
            save_scores(tmp_path / model / part.name / "scores_test.npz", part)
            save_scores(tmp_path / model / part.name / "scores_val.npz", part)
    names, parts = read_parts([tmp_path])
    assert names == ["ctrgcn/b", "ctrgcn/j", "protogcn/b", "protogcn/j"] and len(parts) == 4
    assert read_parts([tmp_path / "ctrgcn"])[0] == ["b", "j"]
    same = tmp_path / "ctrgcn" / "j" / "scores_test.npz"
    assert read_parts([same, same])[0] == ["j (1)", "j (2)"]


def intact(folder):
    np.savez(folder / "stack.npz", scores=np.stack(MATRICES), stream=np.array(list("abcd")), label=LABELS)
    np.save(folder / "a.npy", MATRICES[0])
    for form in ("dict", "samples"):
        (folder / f"{form}.pkl").write_bytes(pickle.dumps(dumped(form)))
    (folder / "label.txt").write_text("".join(f"v{i} {label}\n" for i, label in enumerate(LABELS)))
    np.save(folder / "label.npy", LABELS)
    return sorted(folder.iterdir())


@settings(max_examples=150)
@given(st.integers(0, 5), st.data())
def test_damaged_files_give_scores_or_a_message(tmp_path_factory, which, data):
    folder = tmp_path_factory.mktemp("damage")
    path = intact(folder)[which]
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        # Most of what matters stands at the front and at the end.
        place = data.draw(st.one_of(st.integers(0, min(200, len(raw) - 1)), st.integers(0, len(raw) - 1)))
        raw[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path.write_bytes(bytes(raw) or b"x")
    is_label = path.stem == "label"
    try:
        _, parts = read_parts(
            [folder / "a.npy" if is_label else path], labels=path if is_label else folder / "label.npy"
        )
        assert all(np.isfinite(part.scores).all() for part in parts)
    except (ValueError, OSError):
        pass


def test_kind_may_be_said(tmp_path):
    np.savez(tmp_path / "a.npz", j=softmax(MATRICES[0]), b=MATRICES[1], label=LABELS)
    assert [part.kind for part in read_parts([tmp_path / "a.npz"])[1]] == ["probabilities", "logits"]
    assert [part.kind for part in read_parts([tmp_path / "a.npz"], kind="logits")[1]] == ["logits"] * 2


NAMES = ["gcn/k1", "gcn/k8", "gcn/k8_vel"]


@pytest.mark.parametrize(
    "tokens, weights",
    [
        (["1", "2", ".5"], [1, 2, 0.5]),
        (["k1=.8", "k8=.6", "k8_vel=0"], [0.8, 0.6, 0]),
        (["*_vel=.2", "*=1"], [1, 1, 0.2]),
        (["gcn/k8=3", "k*=1"], [1, 3, 1]),
    ],
)
def test_weights_by_place_and_by_name(tokens, weights):
    assert parse_weights(tokens, NAMES) == weights


@pytest.mark.parametrize(
    "tokens, message",
    [
        (["1", "2"], "got 2 weights for 3 score files"),
        (["1", "2", "x"], "must be numbers, got 1 2 x"),
        (["k1=1", "k8=1"], "no weight for gcn/k8_vel; write gcn/k8_vel=0"),
        (["k1=1", "2", "3"], "either all weights have a name"),
        (["k1=1", "k8=1", "k8_vel=1", "k2=1"], "a weight for 'k2', but the parts are gcn/k1"),
    ],
)
def test_bad_weights(tokens, message):
    with pytest.raises(ValueError, match=message):
        parse_weights(tokens, NAMES)
