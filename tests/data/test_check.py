"""`data check`: quiet on clean clips, and one plain warning for each thing that hurts."""

import json
from typing import Any

import numpy as np
import pytest

from protogcn.cli import main
from protogcn.data.check import check_store
from protogcn.data.store import Clip, ClipStore, write_store
from protogcn.data.synthetic import default_channels, generate, write_synthetic

ACTIONS = ["walk", "wave", "clap", "sit down"]
SPLITS = {"train": range(0, 36), "test": range(36, 48)}
BY_REPETITION = {"train": [i for i in range(48) if i % 3], "test": range(0, 48, 3)}


def record(skeleton, channels=None, actions=ACTIONS):
    """48 clips of four people, the last of whom tests; two of the actions in one view."""
    return list(
        generate(skeleton, actions=actions, subjects=4, views=(1,), repetitions=3, frames=(10, 14), channels=channels)
    )


@pytest.fixture(scope="module")
def solid():
    return record("ntu25")


@pytest.fixture(scope="module")
def flat():
    return record("coco17")


def change(clips, edit, which=slice(None), **changes):
    """The clips, the keypoints of some of them edited."""
    chosen = set(range(len(clips))[which]) if isinstance(which, slice) else set(which)
    return [
        Clip(edit(clip.keypoints.copy()), clip.label, clip.id, changes.get("image_shape", clip.image_shape))
        if i in chosen
        else clip
        for i, clip in enumerate(clips)
    ]


def check(folder, clips, skeleton="ntu25", splits=SPLITS, names=ACTIONS, channels=None, **options):
    """Write the clips and check them; findings by kind."""
    store = write_store(
        folder / "store",
        clips,
        skeleton=skeleton,
        class_names=names,
        splits=splits,
        channels=channels or default_channels(skeleton),
        overwrite=True,
        **options,
    )
    found = check_store(store.path).findings
    return {finding.kind: finding for finding in found if finding.level != "note"}


def scaled(*factors):
    return lambda x: x * np.array(factors, np.float32)


# ------------------------------------------------------------------------------------------------ no false alarm
@pytest.mark.parametrize("skeleton", ["ntu25", "coco17", "kinect15", "openpose25", "mediapipe33", "penn13"])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_clean_clips_give_no_warning(tmp_path, skeleton, noise):
    write_synthetic(tmp_path / "s", skeleton, subjects=3, repetitions=1, frames=(10, 20), noise=noise, occlusion=noise)
    report = check_store(tmp_path / "s")
    assert not report.of("warning") and not report.of("error"), report.text()
    assert "nothing that will hurt training" in report.text()


@pytest.mark.parametrize(
    ("name", "file", "kinds"),
    [
        ("nw_ucla", "nw_ucla", {"short clips", "repeated clips"}),
        ("msr_action3d_as", "msr_action3d", {"empty frames"}),
        ("utd_mhad", "utd_mhad", set()),
        ("utkinect_loso", "utkinect", set()),
        ("sbu", "sbu_interaction", set()),
    ],
)
def test_real_sets(tmp_path, shared_data, name, file, kinds):
    from protogcn.data.prepare import prepare

    prepare(name, shared_data / f"{file}.npz", tmp_path / "s")
    report = check_store(tmp_path / "s")
    assert {finding.kind for finding in report.of("warning")} == kinds and report.ok, report.text()
    if name == "nw_ucla":
        assert "test repeats train number for number in 95 of its 464 clips" in report.text()


# --------------------------------------------------------------------------------------------------- whole or not
def test_damage_is_an_error(tmp_path, solid, capsys):
    assert not check(tmp_path, solid)
    path = tmp_path / "store" / "keypoints.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    report = check_store(tmp_path / "store")
    assert not report.ok and "another checksum" in report.findings[0].text
    assert main(["data", "check", str(tmp_path / "store")]) == 1
    assert "error: store" in capsys.readouterr().out
    path.write_bytes(content[:-100])
    assert main(["data", "check", str(tmp_path / "store")]) == 1
    assert main(["data", "check", str(tmp_path / "nowhere")]) == 2


def test_clips_in_train_and_test_are_an_error(tmp_path, solid):
    found = check(tmp_path, solid, splits={"train": range(40), "test": range(36, 48)})
    assert found["overlap"].level == "error" and "4 clips are in train and in test" in found["overlap"].text
    assert main(["data", "check", str(tmp_path / "store")]) == 1


def test_numbers_that_are_not_finite_are_an_error(tmp_path, solid, monkeypatch):
    """Only a store that another program wrote can hold them."""
    broken = solid[7].keypoints.copy()
    broken[0, 0, 0, 0] = np.nan
    check(tmp_path, solid)
    get = ClipStore.__getitem__
    monkeypatch.setattr(
        ClipStore, "__getitem__", lambda store, i: Clip(broken, 0, solid[7].id) if i == 7 else get(store, i)
    )
    report = check_store(tmp_path / "store")
    assert [f.kind for f in report.of("error")] == ["numbers"] and solid[7].id in report.of("error")[0].text


# ------------------------------------------------------------------------------------------- clips and splits
def test_short_and_sparse_clips(tmp_path, solid):
    def thin(x):
        x[:, 5:] = 0
        return x

    clips = change(change(solid, lambda x: x[:, :2], [3]), lambda x: thin(np.concatenate([x, x], 1)), [4, 5])
    found = check(tmp_path, clips)
    assert set(found) == {"short clips", "empty frames"}
    assert f"{solid[3].id} (2)" in found["short clips"].text and "2 clips" in found["empty frames"].text


def test_more_persons_than_recipes_keep(tmp_path, solid):
    found = check(tmp_path, change(solid, lambda x: np.concatenate([x, x + 1, x + 2]), [1]))
    assert set(found) == {"persons"} and "up to 3" in found["persons"].text


@pytest.mark.parametrize(
    ("splits", "kind", "text"),
    [
        ({}, "splits", "no splits"),
        ({"a": range(20), "b": range(20, 48)}, "splits", "the splits a, b"),
        ({"train": range(36), "test": []}, "splits", "the split test has no clip"),
        ({"train": range(3, 36), "test": range(36, 48)}, None, ""),
    ],
)
def test_splits(tmp_path, solid, splits, kind, text):
    found = check(tmp_path, solid, splits=splits)
    assert (kind in found and text in found[kind].text) if kind else not found


def test_classes_that_cannot_be_learnt(tmp_path, solid):
    learnt = [i for i in range(36) if solid[i].label != 2]
    found = check(tmp_path, solid, splits={"train": learnt, "test": range(36, 48)})
    assert set(found) == {"unseen classes"} and "clap" in found["unseen classes"].text
    found = check(tmp_path, solid, names=[*ACTIONS, "fly"])
    assert set(found) == {"classes without clips"} and "fly" in found["classes without clips"].text
    few = [i for i in range(36) if solid[i].label != 2][:27] + [i for i in range(36) if solid[i].label == 2][:2]
    found = check(tmp_path, solid, splits={"train": few, "test": range(36, 48)})
    assert set(found) == {"rare classes"}


def test_imbalance(tmp_path, solid):
    clips = [Clip(c.keypoints, 0 if i >= 6 else 1, c.id) for i, c in enumerate(solid * 2)]
    clips = [Clip(c.keypoints + np.float32(i // 48), c.label, f"clip{i}") for i, c in enumerate(clips)]
    found = check(tmp_path, clips, names=["many", "few"], splits={"train": range(96), "test": []})
    assert "many has 90 clips in train, few only 6" in found["imbalance"].text
    assert "class_balanced" in found["imbalance"].advice


def test_repeated_clips(tmp_path, solid):
    clips = [*solid[:40], Clip(solid[2].keypoints, solid[2].label, "copy"), *solid[41:]]
    found = check(tmp_path, clips)
    assert set(found) == {"repeated clips"} and f"copy = {solid[2].id}" in found["repeated clips"].text


def test_performers_in_both_splits(tmp_path, solid):
    splits = BY_REPETITION
    found = check(tmp_path, solid, splits=splits)
    assert set(found) == {"performers"} and "divide by performer" in found["performers"].advice
    clips = [Clip(c.keypoints, c.label, f"x/{c.id[16:20]}_subject{c.id[9:12]}_{i}") for i, c in enumerate(solid)]
    assert set(check(tmp_path, clips, splits=splits)) == {"performers"}
    assert not check(tmp_path, clips)
    clips = [Clip(c.keypoints, c.label, f"clip{i}") for i, c in enumerate(solid)]
    assert not check(tmp_path, clips, splits=splits), "names that tell nobody"


def test_what_a_protocol_wants_is_only_noted(tmp_path):
    store = write_synthetic(tmp_path / "s", "kinect15", actions=ACTIONS, subjects=3, repetitions=2, frames=(10, 12))
    report = check_store(store.path)
    assert not report.of("warning") and any("as the protocol has it" in note.text for note in report.of("note"))


# ------------------------------------------------------------------------------------------------- coordinates
def lose(joint, share):
    def edit(x):
        x[:, : int(share * x.shape[1]), joint] = 0
        return x

    return edit


def exchange_sides(x):
    from graphs.layouts import get_skeleton

    return x[:, :, get_skeleton("ntu25").mirror_permutation]


SOLID = {
    "missing joints": (lose(3, 0.8), "1 joint is missing more often than seen: head (7"),
    "upright": (lambda x: x[..., [0, 2, 1]] * np.array([1, 1, -1], np.float32), "stand along -z"),
    "left and right": (exchange_sides, "the left side is on the right in"),
    "units": (scaled(1000, 1000, 1000), "millimetres"),
    "flat clips": (scaled(1, 1, 0), "z is the same everywhere"),
}


@pytest.mark.parametrize("kind", SOLID)
def test_coordinates_in_space(tmp_path, solid, kind):
    edit, text = SOLID[kind]
    found = check(tmp_path, change(solid, edit))
    assert kind in found and text in found[kind].text, found
    assert len(found) == 1 or kind == "flat clips"


def test_a_score_is_no_depth(tmp_path, flat):
    found = check(tmp_path, [Clip(c.keypoints, c.label, c.id) for c in flat], "coco17", channels="xyz")
    assert "looks like a score" in found["pixels"].text


def test_clips_of_another_size_or_another_way_up(tmp_path, solid):
    found = check(tmp_path, change(solid, scaled(100, 100, 100), [5, 6]))
    assert set(found) == {"size"} and "2 clips" in found["size"].text
    found = check(tmp_path, change(solid, scaled(1, -1, -1), range(0, 48, 4)))
    assert set(found) == {"upside down"} and "12 clips" in found["upside down"].text


@pytest.mark.parametrize(("wrong", "right"), [("utd20", "ucla20"), ("msr20", "utd20"), ("h36m17", "coco17")])
def test_joints_in_the_order_of_another_layout(tmp_path, wrong, right):
    clips = [Clip(c.keypoints, c.label, c.id) for c in record(right, "xyz")]
    found = check(tmp_path, clips, wrong, channels="xyz")
    assert f"lie as in {right} rather than as in {wrong}" in found["layout"].text


def test_joints_in_no_order_at_all(tmp_path, solid):
    order = np.random.default_rng(3).permutation(25)
    found = check(tmp_path, change(solid, lambda x: x[:, :, order]))
    assert "layout" in found


FLAT: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "units": (scaled(1 / 1920, 1 / 1080, 1), "shares of the image", {}),
    "image size": (scaled(1, 1, 1), "not known for 48 clips", {"image_shape": None}),
    "outside the image": (scaled(1, 1, 1), "lie outside their image", {"image_shape": (300, 300)}),
    "scores": (scaled(1, 1, 100), "scores go up to", {}),
    "upright": (lambda x: np.where(x.any(-1, keepdims=True), x * [1, -1, 1] + [0, 1080, 0], 0), "towards +y", {}),
}


@pytest.mark.parametrize("kind", FLAT)
def test_coordinates_in_images(tmp_path, flat, kind):
    edit, text, options = FLAT[kind]
    found = check(tmp_path, change(flat, edit, **options), "coco17")
    assert set(found) == {kind} and text in found[kind].text, found


def test_joints_that_are_never_sure_are_missing(tmp_path, flat):
    found = check(tmp_path, change(flat, scaled(1, 1, 0)), "coco17")
    assert "17 joints are missing" in found["missing joints"].text


# ------------------------------------------------------------------------------------------------- as a user does
def test_the_command_prints_and_draws(tmp_path, solid, capsys):
    check(tmp_path, solid, splits=BY_REPETITION)
    assert main(["data", "check", str(tmp_path / "store"), "--out", str(tmp_path / "out")]) == 0, "only warnings"
    out = capsys.readouterr().out
    for part in ("48 clips of 4 classes", "per class", "warning: performers:", "1 warning", "check.png"):
        assert part in out
    assert (tmp_path / "out" / "check.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "out" / "check.txt").read_text() in out
    assert main(["data", "check", str(tmp_path / "store")]) == 0
    assert (tmp_path / "store" / "check.png").is_file()
    ClipStore.open(tmp_path / "store").verify()
    assert json.loads((tmp_path / "store" / "store.json").read_text())["clips"] == 48


def test_every_finding_says_what_to_do(tmp_path, solid):
    found = check(tmp_path, change(solid, scaled(1000, 1000, 1000)), splits={}, names=[*ACTIONS, "fly"])
    assert len(found) >= 3 and all(finding.advice for finding in found.values())
    assert all(finding.text.endswith(".") and finding.advice.endswith(".") for finding in found.values())
