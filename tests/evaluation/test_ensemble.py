import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protogcn.evaluation.ensemble import PRESETS, align, fuse, get_preset, weighted_sum
from protogcn.evaluation.metrics import softmax
from protogcn.evaluation.scores import ScoreFile

STREAMS = ("j", "b", "k", "jm", "bm", "km")


def score_file(scores, labels, ids=None, kind="logits", stream="j", class_names=()) -> ScoreFile:
    ids = np.array([f"clip{i:03}" for i in range(len(labels))]) if ids is None else np.asarray(ids)
    return ScoreFile(ids, np.asarray(scores), kind, np.asarray(labels), class_names, {"stream": stream})


def random_parts(seed, count=3, clips=17, classes=4) -> list[ScoreFile]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, clips)
    return [score_file(rng.standard_normal((clips, classes)), labels, stream=STREAMS[i]) for i in range(count)]


def shuffled(part: ScoreFile, order) -> ScoreFile:
    return ScoreFile(part.ids[order], part.scores[order], part.kind, part.labels[order], part.class_names, part.meta)


@pytest.fixture(scope="module")
def golden(goldens):
    return json.loads((goldens / "data" / "evaluation.json").read_text())


def test_fusions_of_the_reference(golden):
    arrays, labels = np.array(golden["streams_J_B_K_JM_BM_KM"]), np.array(golden["stream_labels"])
    kinds = "probabilities" if np.allclose(arrays.sum(axis=2), 1, atol=1e-4) else "logits"
    parts = {s: score_file(a, labels, kind=kinds, stream=s) for s, a in zip(STREAMS, arrays, strict=True)}
    assert [m.top1 for m in fuse(list(parts.values())).part_metrics] == golden["single"]

    def top1(streams, preset):
        # The reference sums what it is given, so these probabilities play the part of logits in the other two families.
        as_given = [score_file(parts[s].scores, labels, stream=s) for s in streams]
        rule = PRESETS[preset].rule
        return fuse(
            as_given if rule == "logits" else [parts[s] for s in streams], PRESETS[preset].weights(streams), rule
        )

    assert top1("jb", "protogcn").metrics.top1 == golden["proto_2_JB_1:1"]
    assert top1(("j", "b", "jm", "bm"), "protogcn").metrics.top1 == golden["proto_4_JBJMBM_2:2:1:1"]
    assert top1(STREAMS, "protogcn").metrics.top1 == golden["proto_6_2:2:2:1:1:1"]
    assert top1(("j", "b", "jm", "bm"), "ctrgcn").metrics.top1 == golden["ctr_4_.6_.6_.4_.4"]
    assert top1(STREAMS, "infogcn").metrics.top1 == golden["info_6_1.5x3_1x3"]
    total = weighted_sum(list(arrays), PRESETS["protogcn"].weights(STREAMS))
    np.testing.assert_allclose(total[:3], golden["fused_6_first3"], rtol=1e-12)


@pytest.mark.parametrize(
    "preset, streams, weights",
    [
        ("protogcn", STREAMS, (2, 2, 2, 1, 1, 1)),
        ("protogcn", ("j", "b"), (2, 2)),
        ("pyskl", ("j", "b", "jm", "bm"), (2, 2, 1, 1)),
        ("ctrgcn", ("j", "b", "jm", "bm"), (0.6, 0.6, 0.4, 0.4)),
        ("infogcn", STREAMS, (1.5, 1.5, 1.5, 1, 1, 1)),
        ("equal", STREAMS, (1,) * 6),
        ("protogcn", ("j", "j-s1", "jm-s1"), (2, 2, 1)),
    ],
)
def test_presets(preset, streams, weights):
    assert get_preset(preset).weights(streams) == weights


def test_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'protogcn'"):
        get_preset("protgcn")


def test_rules_are_what_their_names_say():
    parts = random_parts(0)
    by_logits, by_probability = fuse(parts, [1, 2, 3], "logits"), fuse(parts, [1, 2, 3], "probabilities")
    expected = sum(w * p.scores.astype(float) for w, p in zip([1, 2, 3], parts, strict=True)) / 6
    np.testing.assert_allclose(by_logits.scores.scores, expected, rtol=1e-5, atol=1e-6)
    expected = sum(w * softmax(p.scores.astype(float)) for w, p in zip([1, 2, 3], parts, strict=True)) / 6
    np.testing.assert_allclose(by_probability.scores.scores, expected, rtol=1e-5)
    assert by_logits.scores.kind == "logits" and by_probability.scores.kind == "probabilities"
    assert by_logits.scores.meta["stream"] == "j+b+k" and by_logits.scores.meta["weights"] == [1, 2, 3]


def test_logits_and_probabilities_mix_under_probabilities_only():
    parts = random_parts(1)
    mixed = [score_file(softmax(parts[0].scores), parts[0].labels, kind="probabilities"), *parts[1:]]
    np.testing.assert_allclose(fuse(mixed).scores.scores, fuse(parts).scores.scores, atol=1e-6)
    with pytest.raises(ValueError, match="j holds probabilities; use rule 'probabilities'"):
        fuse(mixed, rule="logits")


@given(st.integers(0, 2**32 - 1), st.sampled_from(["logits", "probabilities"]))
@settings(max_examples=40)
def test_order_of_clips_in_a_file_does_not_matter(seed, rule):
    parts = random_parts(seed)
    rng = np.random.default_rng(seed)
    mixed = [parts[0], *(shuffled(part, rng.permutation(17)) for part in parts[1:])]
    plain, aligned = fuse(parts, [3, 2, 1], rule), fuse(mixed, [3, 2, 1], rule)
    np.testing.assert_array_equal(plain.scores.scores, aligned.scores.scores)
    assert plain.mcnemar == aligned.mcnemar and plain.gain_interval == aligned.gain_interval


@given(st.integers(0, 2**32 - 1), st.permutations(range(4)), st.sampled_from(["logits", "probabilities"]))
@settings(max_examples=40)
def test_order_of_the_parts_does_not_matter(seed, order, rule):
    parts, weights = random_parts(seed, 4), [1.0, 0.5, 2.0, 4.0]
    plain, turned = fuse(parts, weights, rule), fuse([parts[i] for i in order], [weights[i] for i in order], rule)
    np.testing.assert_allclose(plain.scores.scores, turned.scores.scores, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.sampled_from(["logits", "probabilities"]))
@settings(max_examples=40)
def test_only_ratios_of_weights_matter(seed, factor, rule):
    parts, weights = random_parts(seed), np.array([0.6, 0.4, 0.2])
    plain, scaled = fuse(parts, weights, rule), fuse(parts, weights * factor, rule)
    np.testing.assert_allclose(plain.scores.scores, scaled.scores.scores, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
@settings(max_examples=40)
def test_align_finds_every_clip(seed, clips):
    part = random_parts(seed, 1, clips)[0]
    other = shuffled(part, np.random.default_rng(seed).permutation(clips))
    rows = align([part, other])
    np.testing.assert_array_equal(other.ids[rows[1]], part.ids)


def test_a_part_without_weight_has_no_say():
    parts = random_parts(2)
    np.testing.assert_array_equal(fuse(parts, [1, 0, 0]).scores.scores, fuse(parts[:1]).scores.scores)


def test_gain_is_measured_against_the_best_part_on_the_same_clips():
    parts = random_parts(3, 3, 200)
    fusion = fuse(parts)
    singles = [part.top1 for part in fusion.part_metrics]
    assert fusion.best == int(np.argmax(singles)) and fusion.gain == fusion.metrics.top1 - max(singles)
    assert fusion.mcnemar.gained - fusion.mcnemar.lost == round(fusion.gain * 200)
    assert fusion.gain_interval[0] <= fusion.gain <= fusion.gain_interval[1]


def test_class_names_may_be_unknown_in_a_part():
    named, bare = random_parts(4, 2)
    named = score_file(named.scores, named.labels, class_names=tuple("abcd"))
    assert fuse([bare, named]).scores.class_names == tuple("abcd")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ids": [f"clip{i:03}" for i in range(1, 18)]}, r"1 only in j: clip000; 1 only in b: clip017"),
        ({"rows": slice(0, 12)}, r"5 only in j: clip012, clip013, clip014, \.\.\."),
        ({"classes": 3}, "b has 3 classes, j has 4"),
        ({"labels": True}, r"disagree on the labels of 1 of 17 clips, such as clip000"),
        ({"class_names": ("a", "x", "c", "y")}, r"name 2 classes differently \(1: 'b' and 'x'; 3: 'd' and 'y'\)"),
    ],
)
def test_parts_that_do_not_match_are_refused_by_name(change, message):
    first, second = random_parts(5, 2)
    labels, scores = second.labels.copy() % 3, second.scores
    first = score_file(first.scores, labels, class_names=tuple("abcd"))
    if "labels" in change:
        labels = labels.copy()
        labels[0] += 1
    rows = change.get("rows", slice(None))
    other = score_file(
        scores[rows, : change.get("classes", 4)],
        labels[rows],
        change.get("ids"),
        stream="b",
        class_names=change.get("class_names", ()),
    )
    with pytest.raises(ValueError, match=message):
        fuse([first, other])


@pytest.mark.parametrize("weights", [[1], [1, 2, 3, 4], [1, np.nan, 1], [1, np.inf, 1], [0, 0, 0], [1, -1, 1]])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="weights"):
        fuse(random_parts(6), weights)


def test_nothing_to_fuse_and_unknown_rule():
    with pytest.raises(ValueError, match="no scores"):
        fuse([])
    with pytest.raises(ValueError, match="did you mean 'logits'"):
        fuse(random_parts(7), rule="logit")


def test_six_streams_of_a_large_split_fuse_quickly():
    rng = np.random.default_rng(0)
    clips, classes = 20_000, 400
    labels = rng.integers(0, classes, clips)
    scores = rng.standard_normal((clips, classes), dtype=np.float32)
    ids = np.array([f"video_{i:09}" for i in range(clips)])
    parts = [score_file(scores, labels, ids, stream="j")]
    for stream in STREAMS[1:]:
        parts.append(shuffled(score_file(scores, labels, ids, stream=stream), rng.permutation(clips)))
    start = time.process_time()
    fuse(parts, [2, 2, 2, 1, 1, 1])
    assert time.process_time() - start < 2


REAL = {
    "ctrgcn": ((0.6, 0.6, 0.4, 0.4), "logits", 96.77),
    "ctrgcn weights on softmax": ((0.6, 0.6, 0.4, 0.4), "probabilities", 95.69),
    "pyskl weights on logits": ((2, 2, 1, 1), "logits", 96.55),
    "equal": ((1, 1, 1, 1), "logits", 96.12),
    "j+b": ((1, 1, 0, 0), "logits", 95.69),
}


@pytest.mark.parametrize("name", REAL)
def test_frhead_on_nw_ucla(shared_data, name):
    weights, rule, expected = REAL[name]
    with np.load(shared_data / "frhead_nw_ucla_scores.npz") as data:
        parts = [score_file(data[s], data["labels"], data["names"], stream=s) for s in ("j", "b", "jm", "bm")]
    fusion = fuse(parts, weights, rule)
    assert [round(100 * m.top1, 2) for m in fusion.part_metrics] == [94.40, 93.10, 92.89, 89.44]
    assert round(100 * fusion.metrics.top1, 2) == expected


UAV = ("k1", "k2", "k8", "k1_vel", "k2_vel", "k8_vel")


def uav_parts(shared_data, names):
    with np.load(shared_data / "uav_scores_testA.npz") as data:
        scores, streams, labels = data["scores"], data["stream"].tolist(), data["label"]
        top1, classes = data["top1"], tuple(data["class_names"].tolist())
    parts = [score_file(scores[streams.index(n)], labels, stream=n, class_names=classes) for n in names]
    return parts, [top1[streams.index(n)] for n in names]


@pytest.mark.parametrize(
    "names, weights, rule, expected",
    [
        ([f"ctrgcn/{s}" for s in UAV], None, "logits", 75.70),
        ([f"ctrgcn/{s}" for s in UAV], None, "probabilities", 75.60),
        ([f"ctrgcn/{s}" for s in UAV[:3]], None, "logits", 75.80),
        ([f"infogcn/{s}" for s in UAV], None, "logits", 73.40),
        ([f"ctrgcn/{s}" for s in UAV], (0.8, 0.6, 0.6, 0, 0.2, 0.6), "logits", 76.70),
    ],
)
def test_uav_human(shared_data, names, weights, rule, expected):
    parts, top1 = uav_parts(shared_data, names)
    fusion = fuse(parts, weights, rule)
    assert round(100 * fusion.metrics.top1, 2) == expected
    assert [m.top1 for m in fusion.part_metrics] == pytest.approx(top1)


def test_uav_human_all_sixteen(shared_data):
    names = [f"{m}/{s}" for m in ("ctrgcn", "infogcn") for s in UAV]
    names += [f"mixformer/{s}" for s in ("k1", "k8", "k1_vel", "k8_vel")]
    parts, _ = uav_parts(shared_data, names)
    assert round(100 * fuse(parts).metrics.top1, 2) == 76.20


def test_mmaction2_pair(shared_data):
    with np.load(shared_data / "mmaction2_fuse_demo.npz") as data:
        parts = [score_file(data[s], data["label"], kind="probabilities", stream=s) for s in ("joint", "bone")]
    fusion = fuse(parts)
    result = (fusion.metrics.top1, fusion.metrics.top5, fusion.metrics.mean_class)
    assert [round(value, 4) for value in result] == [0.9333, 0.9833, 0.9180]
    assert [round(m.top1, 4) for m in fusion.part_metrics] == [0.9167, 0.9333]


def test_dhg14_hand_gestures(shared_data):
    with np.load(shared_data / "dhg14_tdgcn_scores_sub15.npz") as data:
        parts = [score_file(data[s], data["label"], stream=s) for s in ("joint", "bone", "motion")]
        np.testing.assert_array_equal(parts[0].scores.argmax(axis=1), data["first_column"])
    fusion = fuse(parts, rule="logits")
    assert [round(100 * m.top1, 2) for m in fusion.part_metrics] == [97.14, 87.86, 90.71]
    assert round(100 * fusion.metrics.top1, 2) == 98.57
