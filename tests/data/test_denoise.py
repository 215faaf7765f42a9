"""Both routes from bodies to persons, against reference numbers and slow loops written from their description."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skeleton_text import posture

from protogcn.data.alignment import align_persons
from protogcn.data.denoise import NoUsableBody, denoise_ctrgcn, denoise_pyskl, translate_ctrgcn
from protogcn.data.readers.ntu_raw import to_clip
from protogcn.data.readers.ntu_skeleton import Body, Recording

CASES = tuple(f"S001C001P001R001A0{number}" for number in ("01", "50", "51", "52", "53", "54"))


def recording(*bodies, length=None):
    """From (first frame, joints) pairs."""
    made = tuple(Body(joints, start) for start, joints in bodies)
    return Recording(made, length if length is not None else max((body.stop for body in made), default=0))


def rows(clip):
    return clip.transpose(1, 0, 2, 3).reshape(clip.shape[1], -1)


# ------------------------------------------------------------------------------------------ reference numbers
@pytest.mark.parametrize("case", CASES)
def test_reference_recordings(goldens, case):
    arrays = np.load(goldens / "data" / "denoise.npz")
    facts = json.loads((goldens / "data" / "denoise.json").read_text())[case]
    bodies = [(body["frames"][0], arrays[f"{case}/in/body{i}"]) for i, body in enumerate(facts["bodies"])]
    seen = recording(*bodies, length=facts["T"])
    denoised = denoise_ctrgcn(seen)
    np.testing.assert_array_equal(rows(denoised), arrays[f"{case}/ctr_denoised"])
    np.testing.assert_array_equal(rows(translate_ctrgcn(denoised)), arrays[f"{case}/ctr_translated"])
    assert denoised.dtype == np.float32
    pyskl = denoise_pyskl(seen)
    assert pyskl.dtype == np.float16
    np.testing.assert_array_equal(pyskl, arrays[f"{case}/pyskl"])
    copied = to_clip(seen, "ctrgcn", copy_single=True)
    alone = facts["ntu60_second_body_zero"]
    assert len(to_clip(seen, "ctrgcn")) == (1 if alone else 2) and len(copied) == 2
    assert np.array_equal(copied[0], copied[1]) == facts["ntu120_second_body_equals_first"]


def test_alignment_is_the_reference_one(goldens):
    arrays = np.load(goldens / "data" / "alignment.npz")
    for clip, expected in zip(arrays["input"], arrays["out"], strict=True):
        np.testing.assert_allclose(
            align_persons(clip.transpose(3, 1, 2, 0)).transpose(3, 1, 2, 0), expected, rtol=1e-6, atol=1e-6
        )


# ------------------------------------------------------------------------------------------------ slow loops
def noisy_frames(joints):
    flags = []
    for frame in joints:
        width = frame[:, 0].max() - frame[:, 0].min()
        height = frame[:, 1].max() - frame[:, 1].min()
        flags.append(not width <= np.float32(0.8) * height)
    return flags


def motion_of(joints):
    return np.sum(np.var(np.vstack(list(joints)), axis=0))


def slow_ctrgcn(seen):
    bodies = {i: {"joints": b.joints, "interval": list(range(b.start, b.stop))} for i, b in enumerate(seen.bodies)}
    several = len(bodies) > 1
    if several:
        for body in bodies.values():
            body["motion"] = motion_of(body["joints"])
        bodies = {i: body for i, body in bodies.items() if len(body["interval"]) > 11}
        for i in list(bodies):
            if len(bodies) == 1:
                break
            flags = noisy_frames(bodies[i]["joints"])
            if not any(flags):
                continue
            if sum(flags) / len(flags) >= 0.69754:
                del bodies[i]
            else:
                clean = bodies[i]["joints"][[k for k, flag in enumerate(flags) if not flag]]
                bodies[i]["motion"] = min(bodies[i]["motion"], motion_of(clean))
    if len(bodies) > 1:
        order = sorted(bodies.values(), key=lambda body: body["motion"], reverse=True)
    else:
        order = list(bodies.values())
    out = np.zeros((seen.num_frames, 150 if len(order) > 1 else 75), np.float32)
    first, *others = order
    start1, end1, start2, end2 = first["interval"][0], first["interval"][-1], 0, 0
    out[start1 : end1 + 1, :75] = first["joints"].reshape(-1, 75)
    for body in others:
        start, end = body["interval"][0], body["interval"][-1]
        if min(end1, end) - max(start1, start) <= 0:
            out[start : end + 1, :75] = body["joints"].reshape(-1, 75)
            start1, end1 = min(start, start1), max(end, end1)
        elif min(end2, end) - max(start2, start) <= 0:
            out[start : end + 1, 75:] = body["joints"].reshape(-1, 75)
            start2, end2 = min(start, start2), max(end, end2)
    if several:
        out = out[out.sum(axis=1) != 0]
    return out


def slow_translation(out):
    persons = out.shape[1] // 75
    missing = [np.where(out[:, 75 * m : 75 * m + 75].sum(axis=1) == 0)[0] for m in range(persons)]
    i = 0
    while not np.any(out[i, :75] != 0):
        i += 1
    moved = out - np.tile(out[i, 3:6], 25 * persons)
    if persons == 2:
        for m in range(2):
            moved[missing[m], 75 * m : 75 * m + 75] = 0
    return moved


def slow_pyskl(seen):
    bodies = [{"kpt": b.joints, "start": b.start, "motion": motion_of(b.joints)} for b in seen.bodies]
    bodies.sort(key=lambda body: -body["motion"])
    if len(bodies) == 1:
        return bodies[0]["kpt"][None].astype(np.float16)
    bodies = [body for body in bodies if len(body["kpt"]) > 11]
    if len(bodies) == 1:
        return bodies[0]["kpt"][None].astype(np.float16)
    kept = []
    for body in bodies:
        flags = noisy_frames(body["kpt"])
        if sum(flags) / len(flags) >= 0.69754:
            continue
        if any(flags):
            body["motion"] = min(body["motion"], motion_of(body["kpt"][~np.array(flags)]))
        kept.append(body)
    kept.sort(key=lambda body: -body["motion"])
    if len(kept) == 1:
        return kept[0]["kpt"][None].astype(np.float16)
    out = np.zeros((2, max(body["start"] + len(body["kpt"]) for body in kept), 25, 3), np.float32)
    s1, e1, s2, e2 = kept[0]["start"], kept[0]["start"] + len(kept[0]["kpt"]), 0, 0
    out[0, s1:e1] = kept[0]["kpt"]
    for body in kept[1:]:
        s, e = body["start"], body["start"] + len(body["kpt"])
        if max(s1, s) >= min(e1, e):
            out[0, s:e], s1, e1 = body["kpt"], min(s, s1), max(e, e1)
        elif max(s2, s) >= min(e2, e):
            out[1, s:e], s2, e2 = body["kpt"], min(s, s2), max(e, e2)
    first, last = 0, out.shape[1]
    while np.abs(out[:, first]).sum() < 1e-3:
        first += 1
    while np.abs(out[:, last - 1]).sum() < 1e-3:
        last -= 1
    out = out[:, first:last]
    if np.abs(out[0, 0, 1]).sum() < 1e-3 and np.abs(out[1, 0, 1]).sum() >= 1e-3:
        out = out[::-1]
    return out.astype(np.float16)


@st.composite
def recordings(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bodies = []
    for _ in range(draw(st.integers(1, 5))):
        length = draw(st.integers(1, 30) | st.integers(12, 16))
        wide = round(length * draw(st.sampled_from((0.0, 0.0, 0.3, 0.69, 0.7, 1.0))))
        joints = posture(rng, length, wide=wide, amount=draw(st.sampled_from((0.0, 0.05, 0.3))))
        if draw(st.booleans()):
            joints[rng.random(length) < 0.2] = 0
        bodies.append((draw(st.integers(0, 20)), joints))
    return recording(*bodies)


@given(recordings())
@settings(max_examples=150, deadline=None)
def test_ctrgcn_route_equals_the_slow_one(seen):
    try:
        clip = denoise_ctrgcn(seen)
    except NoUsableBody as error:
        if "fewer" in str(error):
            assert len(seen.bodies) > 1 and all(len(body.joints) <= 11 for body in seen.bodies)
        else:
            assert str(error) == "only zeros are left" and not slow_ctrgcn(seen)[:, :75].any()
        return
    expected = slow_ctrgcn(seen)
    np.testing.assert_array_equal(rows(clip), expected)
    np.testing.assert_array_equal(rows(translate_ctrgcn(clip)), slow_translation(expected))


@given(recordings())
@settings(max_examples=150, deadline=None)
def test_pyskl_route_equals_the_slow_one(seen):
    try:
        clip = denoise_pyskl(seen)
    except NoUsableBody as error:
        long = [body for body in seen.bodies if len(body.joints) > 11]
        if "fewer" in str(error):
            assert not long and len(seen.bodies) > 1
        elif "noise" in str(error):
            assert all(np.mean(noisy_frames(body.joints)) >= 0.69754 for body in long) and len(long) > 1
        else:
            assert str(error) == "only zeros are left"
        return
    np.testing.assert_array_equal(clip, slow_pyskl(seen))


# ---------------------------------------------------------------------------------------- single decisions
def person(seed, frames, **more):
    return posture(np.random.default_rng(seed), frames, **more)


def test_bodies_may_share_one_frame_in_one_route_only():
    first, second, both = person(0, 14, amount=0.5), person(1, 14, amount=0.4), person(2, 27, amount=0.01)
    seen = recording((0, first), (13, second), (0, both))
    ctrgcn, pyskl = denoise_ctrgcn(seen), denoise_pyskl(seen)
    np.testing.assert_array_equal(ctrgcn[0, 13:], second)
    np.testing.assert_array_equal(ctrgcn[1], both)
    np.testing.assert_array_equal(pyskl[0, :14], first.astype(np.float16))
    np.testing.assert_array_equal(pyskl[1, 13:], second.astype(np.float16))
    assert not pyskl[0, 14:].any() and not pyskl[1, :13].any()


def test_the_last_body_is_never_noise_in_one_route():
    seen = recording((0, person(0, 20, wide=20)), (0, person(1, 20, wide=20)))
    np.testing.assert_array_equal(denoise_ctrgcn(seen)[0], seen.bodies[1].joints)
    with pytest.raises(NoUsableBody, match="wider than tall"):
        denoise_pyskl(seen)


def test_a_body_alone_is_not_tested():
    alone = person(0, 5, wide=5)
    np.testing.assert_array_equal(denoise_pyskl(recording((3, alone), length=9)), alone[None].astype(np.float16))
    clip = denoise_ctrgcn(recording((3, alone), length=9))
    assert clip.shape == (1, 9, 25, 3) and not clip[:, :3].any() and not clip[:, 8:].any()
    moved = translate_ctrgcn(clip)
    np.testing.assert_array_equal(moved[0, 0], np.broadcast_to(-alone[0, 1], (25, 3)))


@pytest.mark.parametrize("route", [denoise_pyskl, denoise_ctrgcn])
@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (recording(), "no body in any frame"),
        (recording((0, person(0, 11)), (0, person(1, 3))), "11 frames or fewer"),
        (recording((0, np.zeros((4, 25, 3), np.float32))), "only zeros"),
    ],
)
def test_reasons_for_leaving_a_clip_out(route, seen, why):
    with pytest.raises(NoUsableBody, match=why):
        route(seen)


def test_a_body_listed_twice_in_a_frame_is_damage():
    with pytest.raises(ValueError, match=r"listed 6 times in a recording of 4 frames") as caught:
        denoise_ctrgcn(recording((1, person(0, 6)), length=4))
    assert not isinstance(caught.value, NoUsableBody)


# ------------------------------------------------------------------------------------------------ alignment
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_alignment_turns_each_person_upright(seed):
    clip = np.random.default_rng(seed).normal(size=(2, 3, 25, 3)).astype(np.float32)
    aligned = align_persons(clip)
    for person_, first in zip(aligned, clip[:, 0], strict=True):
        spine, hips = person_[0, 1] - person_[0, 0], person_[0, 12] - person_[0, 16]
        np.testing.assert_allclose(spine, [0, 0, float(np.linalg.norm(first[1] - first[0]))], atol=1e-4)
        assert abs(hips[1]) < 1e-4 < hips[0]
    distances = np.linalg.norm(clip[..., :1, :] - clip, axis=-1), np.linalg.norm(aligned[..., :1, :] - aligned, axis=-1)
    np.testing.assert_allclose(*distances, rtol=1e-3, atol=1e-4)


def test_alignment_of_who_is_absent_or_has_no_width():
    clip = person(0, 4)[None].repeat(3, axis=0)
    clip[1, 0] = 0
    clip[2, 0, 12] = clip[2, 0, 16]
    aligned = align_persons(clip)
    assert aligned[0].any() and not aligned[1].any() and np.isnan(aligned[2]).all()
    with pytest.raises(ValueError, match="25 joints"):
        align_persons(np.zeros((1, 4, 20, 3)))
