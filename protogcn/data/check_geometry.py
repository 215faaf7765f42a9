"""What coordinates can hide: other units, axes, joint orders and sides than the layout of the store promises."""

from collections.abc import Iterator

import numpy as np

from graphs.layouts import get_skeleton, list_skeletons
from graphs.skeleton import Skeleton
from protogcn.data.check_facts import Array, Facts
from protogcn.data.check_finding import Finding, counted, named
from protogcn.data.store import ClipStore

_MISSING = 0.5
_BETTER_LAYOUT = 0.85
_LOOSE_LAYOUT = 1.9
_UNEVEN = 1.5
_OTHER_SIZE = 2.5
_LARGE_BODY = 20.0
_MIRRORED = 0.35
_UPSIDE_DOWN = {2: 0.10, 3: 0.05}
_SHARES = 2.0
_OUTSIDE = 0.05
_AXES = "xyz"


def check_geometry(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    """Findings about coordinates, joints and scores."""
    yield from _missing(store, facts)
    yield from _layout(store, facts)
    yield from _directions(store, facts)
    if store.channels == "xyz":
        yield from _uneven(store, facts)
        yield from _sides(store, facts)
        yield from _units_in_space(store, facts)
        yield from _sizes(store, facts)
    else:
        yield from _units_in_image(store, facts)


def _missing(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    share = 1 - facts.seen.sum(axis=0) / max(1, facts.appearances.sum())
    lost = np.flatnonzero(share > _MISSING)
    if len(lost):
        yield Finding(
            "warning",
            "missing joints",
            f"{counted(len(lost), 'joint', 'are')} missing more often than seen: "
            + named(f"{store.skeleton.joints[v]} ({100 * share[v]:.0f} %)" for v in lost)
            + ".",
            "Use a layout without them (a YAML file of your own), lest the network learns where they are absent.",
        )


def _layout(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    skeleton = store.skeleton
    least = _spanning_tree(facts.distances)
    if not least:
        return
    ours = _tree(skeleton, facts.distances) / least
    others = [get_skeleton(name) for name in list_skeletons() if name != skeleton.name]
    fitting = [other for other in others if other.num_joints == skeleton.num_joints]
    best = min(fitting, key=lambda other: _tree(other, facts.distances), default=None)
    if best and _tree(best, facts.distances) / least < _BETTER_LAYOUT * ours:
        yield Finding(
            "warning",
            "layout",
            f"the joints lie as in {best.name} rather than as in {skeleton.name}: its bones would be "
            f"{100 * (1 - _tree(best, facts.distances) / least / ours):.0f} % shorter.",
            f"Look at a clip (graphs.draw), and convert with --skeleton {best.name} if that is their order.",
        )
    elif ours > _LOOSE_LAYOUT:
        yield Finding(
            "warning",
            "layout",
            f"the bones of {skeleton.name} join joints that lie far apart: {ours:.1f} times the length of the shortest "
            "tree.",
            "Are the joints in another order than in the layout? Look at a clip (graphs.draw) before training.",
        )


def _uneven(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    skeleton = store.skeleton
    bones = np.array([np.nan if not len(kept) else np.median(kept) for kept in _columns(facts.bones)])
    for left, right in skeleton.mirror:
        pair = sorted((bones[left], bones[right]))
        if pair[0] > 0 and pair[1] > _UNEVEN * pair[0]:
            yield Finding(
                "warning",
                "uneven sides",
                f"the bone of {skeleton.joints[left]} is {bones[left] / bones[right]:.1f} times as long as that of "
                f"{skeleton.joints[right]}.",
                "Bodies are even: is the order of the joints that of the layout?",
            )
            return


def _tree(skeleton: Skeleton, distances: Array) -> float:
    return float(sum(distances[child, parent] for child, parent in enumerate(skeleton.parents) if parent >= 0))


def _spanning_tree(distances: Array) -> float:
    """Length of the shortest tree through all joints (Prim); 0 where some pair was never seen together."""
    joints = len(distances)
    if joints < 3 or np.isnan(distances).any():
        return 0.0
    nearest, outside, total = distances[0].copy(), np.ones(joints, dtype=bool), 0.0
    outside[0] = False
    while outside.any():
        joint = int(np.where(outside, nearest, np.inf).argmin())
        total += float(nearest[joint])
        outside[joint] = False
        nearest = np.minimum(nearest, distances[joint])
    return total


def _columns(array: Array) -> list[Array]:
    return [column[~np.isnan(column)] for column in array.T]


def _directions(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    known = facts.up[~np.isnan(facts.up).any(axis=1)]
    if not len(known):
        return
    mean = known.mean(axis=0)
    if np.linalg.norm(mean) < 0.3:
        return
    axis, flat = int(np.abs(mean).argmax()), store.channels != "xyz"
    sign = "-" if mean[axis] < 0 else "+"
    if flat and (axis, sign) != (1, "-"):
        yield Finding(
            "warning",
            "upright",
            f"heads lie towards {sign}{_AXES[axis]} of the hips, but in an image y points down.",
            "Are x and y exchanged, or y measured from below? Use height - y.",
        )
        return
    if not flat and axis != 1:
        yield Finding(
            "warning",
            "upright",
            f"bodies stand along {sign}{_AXES[axis]}, not along y.",
            "Turns about the vertical (pipeline.turn_degrees) take y for it: reorder the axes so that y points up.",
        )
    elif not flat and sign == "-":
        yield Finding("note", "upright", "y points down, as in images; Kinect's points up.")
    against = np.flatnonzero(~np.isnan(facts.up).any(axis=1) & (facts.up @ (mean / np.linalg.norm(mean)) < -0.5))
    if len(against) > _UPSIDE_DOWN[len(mean)] * len(known):
        yield Finding(
            "warning",
            "upside down",
            f"{counted(len(against), 'clip', 'stand')} upside down beside the others: "
            f"{named(store.ids[i] for i in against)}.",
            "Do the clips come from sources whose axes differ? Bring them into one frame before converting.",
        )


def _sides(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    known = facts.sided[~np.isnan(facts.sided)]
    if len(known) and known.mean() < _MIRRORED:
        yield Finding(
            "warning",
            "left and right",
            f"judging by the feet, the left side is on the right in {100 * (1 - known.mean()):.0f} % of the bodies.",
            "Are left and right exchanged, or one axis mirrored? Exchange the joints, or negate x.",
        )


def _units_in_space(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    extent = np.nanmedian(facts.high - facts.low, axis=0)
    low, high = np.nanmin(facts.low, axis=0), np.nanmax(facts.high, axis=0)
    if extent[:2].max() > 0 and high[2] - low[2] <= 1e-6 * extent[:2].max():
        yield Finding(
            "warning",
            "flat clips",
            "z is the same everywhere.",
            "Convert only x and y, and train with a 2-D protocol (configs/own/protogcn_2d.yaml).",
        )
    elif extent.max() > _LARGE_BODY and low[2] >= 0 and high[2] <= 1.001:
        yield Finding(
            "warning",
            "pixels",
            "x and y are pixels and the third number lies between 0 and 1: it looks like a score, not like z.",
            "Call its column score in a table, or store pixels and scores (channels xys) for a 2-D protocol.",
        )
    elif extent.max() > _LARGE_BODY:
        yield Finding(
            "warning",
            "units",
            f"bodies move within {extent.max():,.0f} units: these look like millimetres or pixels, not like metres.",
            "Divide millimetres by 1000, so that noise and thresholds of pipelines mean what they say; pixels are "
            "stored without z.",
        )


def _sizes(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    usual = np.array([np.median(kept) if len(kept) else np.nan for kept in _columns(facts.bones)])
    known = ~np.isnan(facts.bones) & (usual > 0)
    ratio = np.full(len(store), np.nan)
    for i in np.flatnonzero(known.any(axis=1)):
        ratio[i] = np.median(facts.bones[i, known[i]] / usual[known[i]])
    other = np.flatnonzero((ratio > _OTHER_SIZE) | (ratio < 1 / _OTHER_SIZE))
    if len(other):
        yield Finding(
            "warning",
            "size",
            f"in {counted(len(other), 'clip')} bodies are of another size than usual: "
            + named(f"{store.ids[i]} ({ratio[i]:.2g} times)" for i in other)
            + ".",
            "Are these clips in other units, or badly tracked? Scale them, or leave them out.",
        )


def _units_in_image(store: ClipStore, facts: Facts) -> Iterator[Finding]:
    if np.isnan(facts.low).all():
        return
    if np.nanmax(np.abs(np.stack([facts.low[:, :2], facts.high[:, :2]]))) <= _SHARES:
        yield Finding(
            "warning",
            "units",
            "x and y are no larger than 2: shares of the image rather than pixels.",
            "Multiply them by width and height, and give the size of the image, or the 2-D protocols shrink them to "
            "nothing.",
        )
        return
    without = [name for name, sized in zip(store.ids, facts.sized, strict=True) if not sized]
    if without:
        yield Finding(
            "warning",
            "image size",
            f"the size of the image is not known for {counted(len(without), 'clip')}: {named(without)}.",
            "Protocol pyskl_2d takes 1920 x 1080 for them and protogcn_2d cannot mirror them: convert with the sizes "
            "(docs/own_data.md).",
        )
    told = ~np.isnan(facts.outside)
    beyond = np.flatnonzero(told & (np.nan_to_num(facts.outside) > 0.5))
    if told.any() and facts.outside[told].mean() > _OUTSIDE:
        yield Finding(
            "warning",
            "outside the image",
            f"{100 * facts.outside[told].mean():.0f} % of the joints lie outside their image, most of all in "
            f"{named(store.ids[i] for i in beyond) or 'no single clip'}.",
            "Is the size (height, width), or were the videos scaled after the poses were found?",
        )
    if store.channels == "xys" and np.nanmax(facts.high[:, 2]) > 1.5:
        yield Finding(
            "warning",
            "scores",
            f"scores go up to {np.nanmax(facts.high[:, 2]):.3g}.",
            "Pipelines expect 0 to 1: divide them by their largest value.",
        )
