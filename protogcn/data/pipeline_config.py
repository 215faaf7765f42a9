"""The typed recipe of a data pipeline."""

import math
from dataclasses import dataclass, fields

from graphs.messages import unknown

PROTOCOLS = ("protogcn_3d", "protogcn_2d", "pyskl_3d", "pyskl_2d", "ctrgcn", "infogcn", "nw_ucla", "heatmap")
HEATMAP = "heatmap"
"""The protocol that gives heat maps, from image coordinates as well as from projected 3-D coordinates."""
CROPPING = ("ctrgcn", "infogcn")
"""The protocols that stretch a part of a clip instead of choosing frames."""
PROJECTIONS = ("front", "side", "top", "camera")
UPS = ("x", "-x", "y", "-y", "z", "-z")

_OF_HEATMAPS = (
    *("image_size", "test_image_size", "crop_area", "crop_aspect", "sigma"),
    *("use_score", "double", "maps", "projection", "up"),
)
_OF_CLIPS = ("scale", "shear", "noise", "flip_mirror")


@dataclass(frozen=True)
class PipelineConfig:
    """From stored clips to network input. The defaults are ProtoGCN's published recipe for NTU RGB+D.

    Attributes:
        protocol: order of the steps. `protogcn_3d`: centre, augment, stream, sample; `protogcn_2d`: sample, flip,
            virtual joints, stream; `pyskl_3d`: centre and turn upright, augment, stream, sample; `pyskl_2d`: scale to
            the image, augment, stream, sample; `ctrgcn`: crop and stretch to clip_len, augment, stream; `infogcn`:
            likewise, without bones; `nw_ucla`: centre, tilt and turn, stretch to a box, sample, stream; `heatmap`:
            sample, cut out the poses, crop and resize, draw Gaussians at the joints (stream j) or along the limbs
            (stream b), as PoseC3D sees them.
        clip_len: frames of a network input; PoseC3D takes 48.
        num_persons: persons of a network input; missing ones are zeros, further ones are left out. In heatmap all that
            are kept share the maps (the released code keeps everybody).
        test_clips: clips of one sample in the test, whose scores are averaged. Validation uses one.
        sampling: `uniform`, or `pad` to repeat or clear up to clip_len (vanilla ST-GCN, in the protogcn and pyskl
            protocols).
        padding: what `pad` does behind the end of a clip: `zero` or `loop`.
        p_interval: smallest and largest share of a clip that uniform sampling looks at; in ctrgcn and infogcn only that
            of training.
        test_share: central share of a clip that validation and test look at (ctrgcn, infogcn).
        compat: `mmaction2` follows that code where it differs from PYSKL's (pyskl_3d, pyskl_2d, heatmap): other test
            frames, shoulders turned whatever align_spine says, unsure image joints not hidden; in heatmap fainter
            joints drawn, and the middle of the picture cut out in validation and test. Empty follows PYSKL.
        rotation: largest angle in radians about each axis, in training (3-D protocols but nw_ucla and heatmap).
        scale: largest relative change of each axis, in training (3-D protocols but nw_ucla).
        shear: largest off-diagonal entry of a random shear, in training (3-D protocols).
        noise: standard deviation of the noise relative to the size of the person, in training (3-D protocols).
        flip: probability of exchanging left and right, in training. `protogcn_2d` and `heatmap` mirror about the image.
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
        turn_degrees: largest turn about the vertical axis, in training (nw_ucla, heatmap with a projection).
        tilt_degrees: largest tilt about the horizontal axis, in training (nw_ucla, heatmap with a projection).
        significant_digits: 6 recovers the doubles of the NW-UCLA files from a float32 store; 0 takes it as it is.
        image_size: side in pixels of the heat maps in training (heatmap, as all that follow).
        test_image_size: side in pixels of the heat maps in validation and test.
        crop_area: smallest and largest share of the picture that a training crop keeps.
        crop_aspect: smallest and largest width by height of a training crop.
        sigma: standard deviation of the Gaussians, in pixels.
        use_score: draw a joint as bright as its detection score; otherwise all seen joints are drawn in full.
        double: show the network every test clip in the mirror too, and average the scores.
        maps: `joint+limb` gives joint and limb maps together, joints first, as stream j; empty leaves it to the stream.
        projection: how 3-D clips become pictures: `front`, `side` or `top` (parallel rays), or `camera` (as the depth
            camera saw them: x and y by the distance). Empty for image coordinates.
        up: the axis of 3-D clips that points up: `y`, `-y`, `z`, ...; empty tells it from each clip, by its head and
            feet, and takes the custom of the layout where that leaves doubt.

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
    image_size: int = 56
    test_image_size: int = 64
    crop_area: tuple[float, float] = (0.56, 1.0)
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    sigma: float = 0.6
    use_score: bool = True
    double: bool = True
    maps: str = ""
    projection: str = ""
    up: str = ""

    def __post_init__(self) -> None:
        for name in ("p_interval", "spine", "shoulders", "crop_area", "crop_aspect"):
            pair = tuple(getattr(self, name))
            if len(pair) != 2:
                raise ValueError(f"pipeline.{name} must be two numbers, got {getattr(self, name)!r}")
            object.__setattr__(self, name, pair)
        for name, known in (
            ("protocol", PROTOCOLS),
            ("sampling", ("uniform", "pad")),
            ("padding", ("zero", "loop")),
            ("compat", ("", "mmaction2")),
            ("maps", ("", "joint+limb")),
            ("projection", ("", *PROJECTIONS)),
            ("up", ("", *UPS)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(unknown(name, getattr(self, name), known, show_all=True))
        for name in ("clip_len", "num_persons", "test_clips", "image_size", "test_image_size"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("flip", "part_drop", "joint_dropout"):
            self._check(name, 0 <= getattr(self, name) <= 1, "a probability from 0 to 1")
        for name in ("rotation", "scale", "shear", "noise", "turn_degrees", "tilt_degrees", "significant_digits"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        low, high = self.p_interval
        self._check("p_interval", 0 < low <= high <= 1, "two shares with 0 < low <= high <= 1")
        self._check("test_share", 0 < self.test_share <= 1, "a share above 0 and up to 1")
        if self.compat:
            differs = self.protocol.startswith("pyskl") or self.protocol == HEATMAP
            self._check("compat", differs, f"empty for protocol {self.protocol}")
            self._check(
                "p_interval", self.p_interval == (1.0, 1.0), "1, 1 with compat mmaction2, which takes all frames"
            )
        if self.centre:
            self._check("centre", self.protocol in CROPPING, f"false for protocol {self.protocol}, which sees to it")
        if self.sampling == "pad":
            whole = self.protocol not in ("nw_ucla", HEATMAP, *CROPPING)
            self._check("sampling", whole, f"uniform for protocol {self.protocol}")
            self._check(
                "test_clips", self.test_clips == 1, "1 with sampling pad, which leaves nothing to vary between clips"
            )
        self._check_heatmaps()

    def _check_heatmaps(self) -> None:
        low, high = self.crop_area
        self._check("crop_area", 0 < low <= high <= 1, "two shares with 0 < low <= high <= 1")
        low, high = self.crop_aspect
        self._check("crop_aspect", 0 < low <= high < math.inf, "two ratios with 0 < low <= high")
        self._check("sigma", 0 < self.sigma < math.inf, "above 0")
        if self.up:
            self._check("up", bool(self.projection), "empty without a projection, the only thing that asks for it")
        heatmap = self.protocol == HEATMAP
        idle = _OF_CLIPS if heatmap else _OF_HEATMAPS
        for field in fields(self):
            if field.name in idle:
                kept = getattr(self, field.name) == field.default
                other = "protocol heatmap has no use for it" if heatmap else "only protocol heatmap uses it"
                self._check(field.name, kept, f"left at {field.default!r}: {other}")

    @property
    def test_inputs(self) -> int:
        """Network inputs that one sample becomes in the test, whose scores are averaged."""
        return self.test_clips * (2 if self.protocol == HEATMAP and self.double else 1)

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise ValueError(f"pipeline.{name} must be {expected}, got {getattr(self, name)!r}")
