"""Raw NTU RGB+D files for the tests: recordings written as the Kinect's text, and folders of them."""

import numpy as np


def skeleton_text(frames, end="\r\n"):
    """Text of a recording: ``frames`` lists for each frame pairs (body id, joints (25, 3))."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body, joints in bodies:
            lines += [f"{body} 0 1 1 1 1 0 0.02 -0.1 2", "25"]
            lines += [
                f"{x} {y} {z} 250.1 180.2 {900 + 10 * x:.2f} {500 + y:.2f} 0.1 0.2 0.3 0.4 2"
                for x, y, z in np.asarray(joints).tolist()
            ]
    return (end.join(lines) + end).encode()


def posture(rng, frames, *, wide=0, amount=0.05):
    """A standing person (frames, 25, 3) that moves; the first ``wide`` frames are wider than tall."""
    joints = rng.uniform((-0.3, -0.9, -0.1), (0.3, 0.9, 0.1), (25, 3)) + rng.normal(0, amount, (frames, 25, 3))
    joints[:wide] = joints[:wide, :, [1, 0, 2]]
    return (joints + np.array([0.2, 0.1, 3.0])).astype(np.float32)


def frames_of(bodies, length=None):
    """Frames for :func:`skeleton_text` from (body id, first frame, joints (n, 25, 3)) triples."""
    length = length if length is not None else max(start + len(joints) for _, start, joints in bodies)
    return [
        [(body, joints[frame - start]) for body, start, joints in bodies if start <= frame < start + len(joints)]
        for frame in range(length)
    ]
