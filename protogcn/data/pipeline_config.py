"""The typed recipe of a data pipeline."""

import math
from dataclasses import dataclass

from graphs.messages import unknown

PROTOCOLS = ("protogcn_3d", "protogcn_2d", "pyskl_3d", "pyskl_2d", "ctrgcn", "infogcn", "nw_ucla")
CROPPING = ("ctrgcn", "infogcn")
"""The protocols that stretch a part of a clip instead of choosing frames."""


@dataclass(frozen=True)
class PipelineConfig:
    """From stored clips to network input. The defaults are ProtoGCN's published recipe for NTU RGB+D.

    Attributes:
        protocol: order of the steps. `protogcn_3d`: centre, augment, stream, sample; `protogcn_2d`: sample, flip,
            virtual joints, stream; `pyskl_3d`: centre and turn upright, augment, stream, sample; `pyskl_2d`: scale to
            the image, augment, stream, sample; `ctrgcn`: crop and stretch to clip_len, augment, stream; `infogcn`:
            likewise, without bones; `nw_ucla`: centre, tilt and turn, stretch to a box, sample, stream.
        clip_len: frames of a network input.
        num_persons: persons of a network input; missing ones are zeros, further ones are left out.
        test_clips: clips of one sample in the test, whose scores are averaged. Validation uses one.
        sampling: `uniform`, or `pad` to repeat or clear up to clip_len (vanilla ST-GCN, in the protogcn and pyskl
            protocols).
        padding: what `pad` does behind the end of a clip: `zero` or `loop`.
        p_interval: smallest and largest share of a clip that uniform sampling looks at; in ctrgcn and infogcn only that
            of training.
        test_share: central share of a clip that validation and test look at (ctrgcn, infogcn).
        compat: `mmaction2` follows that code where it differs from PYSKL's (pyskl_3d, pyskl_2d): other test frames,
            shoulders turned whatever align_spine says, unsure image joints not hidden. Empty follows PYSKL.
        rotation: largest angle in radians about each axis, in training (3-D protocols but nw_ucla).
        scale: largest relative change of each axis, in training (3-D protocols but nw_ucla).
        shear: largest off-diagonal entry of a random shear, in training (3-D protocols).
        noise: standard deviation of the noise relative to the size of the person, in training (3-D protocols).
        flip: probability of exchanging left and right, in training. `protogcn_2d` mirrors about the image.
        flip_mirror: reflect the coordinates too; the published 3-D recipes only exchange the labels.
        part_drop: probability of clearing one limb, in training.
        joint_dropout: probability of clearing each joint for a whole clip, in training.
        centre: move the body of the first frame to the origin (ctrgcn, infogcn), as conversion has done for the files
            of the authors; the other 3-D protocols always do.
        align_spine: turn the first body upright and its shoulders along x; None is what the protocol publishes.
        spine: the joints (lower, upper) that align_spine puts along z.
        shoulders: the joints (right, left) that align_spine puts along x.
        kbone: definition of the K-bone stream, `grandparent` or `infogcn:<k>`.
        mode_in_model: give the network positions for j, b and k and their motion for jm, bm and km, because it forms
            the mode of the stream itself, as InfoGCN does; None is what the protocol publishes.
        turn_degrees: largest turn about the vertical axis, in training (nw_ucla).
        tilt_degrees: largest tilt about the horizontal axis, in training (nw_ucla).
        significant_digits: 6 recovers the doubles of the NW-UCLA files from a float32 store; 0 takes it as it is.
        double: show the network every test clip in the mirror too, and average the scores (heatmap).

    Raises:
        ValueError: for a value out of range; the message names the field.
    """

    protocol: str = "protogcn_3d"
    clip_len: int = 100
    num_persons: int = 2
    test_clips: int = 10
    sampling: str = "uniform"
    padding: str = "zero"
    p_interval: tuple[float, float] = (1.0, 1.0)
    test_share: float = 0.95
    compat: str = ""
    rotation: float = 0.2
    scale: float = 0.0
    shear: float = 0.0
    noise: float = 0.0
    flip: float = 0.0
    flip_mirror: bool = False
    part_drop: float = 0.0
    joint_dropout: float = 0.0
    centre: bool = False
    align_spine: bool | None = None
    spine: tuple[int, int] = (0, 1)
    shoulders: tuple[int, int] = (8, 4)
    kbone: str = "grandparent"
    mode_in_model: bool | None = None
    turn_degrees: int = 60
    tilt_degrees: int = 60
    significant_digits: int = 0
    double: bool = True

    def __post_init__(self) -> None:
        for name in ("p_interval", "spine", "shoulders"):
            pair = tuple(getattr(self, name))
            if len(pair) != 2:
                raise ValueError(f"pipeline.{name} must be two numbers, got {getattr(self, name)!r}")
            object.__setattr__(self, name, pair)
        for name, known in (
            ("protocol", PROTOCOLS),
            ("sampling", ("uniform", "pad")),
            ("padding", ("zero", "loop")),
            ("compat", ("", "mmaction2")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(unknown(name, getattr(self, name), known, show_all=True))
        for name in ("clip_len", "num_persons", "test_clips"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("flip", "part_drop", "joint_dropout"):
            self._check(name, 0 <= getattr(self, name) <= 1, "a probability from 0 to 1")
        for name in ("rotation", "scale", "shear", "noise", "turn_degrees", "tilt_degrees", "significant_digits"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        low, high = self.p_interval
        self._check("p_interval", 0 < low <= high <= 1, "two shares with 0 < low <= high <= 1")
        self._check("test_share", 0 < self.test_share <= 1, "a share above 0 and up to 1")
        if self.compat:
            self._check("compat", self.protocol.startswith("pyskl"), f"empty for protocol {self.protocol}")
            self._check(
                "p_interval", self.p_interval == (1.0, 1.0), "1, 1 with compat mmaction2, which takes all frames"
            )
        if self.centre:
            self._check("centre", self.protocol in CROPPING, f"false for protocol {self.protocol}, which sees to it")
        if self.sampling == "pad":
            whole = self.protocol not in ("nw_ucla", *CROPPING)
            self._check("sampling", whole, f"uniform for protocol {self.protocol}")
            self._check(
                "test_clips", self.test_clips == 1, "1 with sampling pad, which leaves nothing to vary between clips"
            )

    @property
    def test_inputs(self) -> int:
        """Network inputs that one sample becomes in the test, whose scores are averaged."""
        return self.test_clips * (2 if self.protocol == "heatmap" and self.double else 1)

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise ValueError(f"pipeline.{name} must be {expected}, got {getattr(self, name)!r}")
