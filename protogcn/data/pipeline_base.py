"""What all pipelines share: the prepared clip, the draw, checks, repairs, augmentation, padding of persons."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from graphs import augment, streams
from graphs.messages import unknown
from graphs.skeleton import Skeleton
from protogcn.data.framing import RandomCrop
from protogcn.data.pipeline_config import HEATMAP, PROTOCOLS, PipelineConfig

MODES = ("train", "val", "test")
CHANNELS = ("xyz", "xy", "xys")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A clip after the deterministic, cacheable part of a pipeline: keypoints (M, T, V, C) and (height, width)."""

    keypoints: NDArray[Any]
    image_shape: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Everything random about one network input; the rest of a pipeline is a pure function of it.

    Attributes:
        frames: indices (num_clips * clip_len,) into the prepared clip; in ctrgcn and infogcn positions between frames.
        visible: which of the frames are shown, bool as `frames`; None shows all. Zero padding hides some.
        angles: radians about x, y, z (the protocols nw_ucla and heatmap: tilt, turn, 0).
        scale, shear, noise, flip, part, joints: parameters of the functions of that name in `graphs.augment`.
        crop: the box that is cut out of the picture (heatmap).
    """

    frames: NDArray[Any]
    visible: NDArray[np.bool_] | None = None
    angles: Any = None
    scale: NDArray[np.float64] | None = None
    shear: NDArray[np.float64] | None = None
    noise: NDArray[np.float64] | None = None
    flip: bool = False
    part: int = augment.NO_PART
    joints: NDArray[np.bool_] | None = None
    crop: RandomCrop | None = None


class Pipeline(ABC):
    """Turns a stored clip into float32 (num_clips, M, T, V, C).

    `pipeline(clip, rng)` is `apply(prepare(clip), draw(prepared, rng))`: what is prepared may be cached, what is drawn
    may be recorded and given again. There is one subclass for each order of steps; `build_pipeline` picks it.

    Attributes:
        stream: what the pipeline computes; where the network forms the modes itself, `j` or `jm` for all streams.
        num_clips: 1 in training and validation, `config.test_clips` in the test.
        out_shape: (num_clips, num_persons, clip_len, V, C).
        gives: what the network sees, `clips` or `heatmaps`.
        views: network inputs that one clip becomes in `network_input`, whose scores are averaged.
        released: whose arithmetic the streams follow, `compat` of `graphs.streams.compute`.
        prepared_by: the fields of `PipelineConfig` that `prepare` depends on, beside skeleton and channels; None where
            that is not said, and what is prepared is not kept on disk.
    """

    gives = "clips"
    views = 1
    released: str | None = None
    prepared_by: tuple[str, ...] | None = None

    def __init__(self, config: PipelineConfig, skeleton: Skeleton, stream: str, mode: str, channels: str) -> None:
        streams.check_stream(stream)
        streams.parse_kbone(config.kbone)
        if mode not in MODES:
            raise ValueError(unknown("mode", mode, MODES, show_all=True))
        if channels not in CHANNELS:
            raise ValueError(unknown("channels", channels, CHANNELS, show_all=True))
        flat = config.protocol.endswith("_2d")
        if config.protocol != HEATMAP and flat == (channels == "xyz"):
            *others, last = (name for name in PROTOCOLS if name != HEATMAP and flat != name.endswith("_2d"))
            raise ValueError(
                f"protocol {config.protocol} needs {'image' if flat else '3-D'} coordinates, but the clips hold "
                f"{channels!r}: set pipeline.protocol to {', '.join(others)} or {last}"
            )
        for option, needs in (("part_drop", "parts"), ("flip", "mirror")):
            if getattr(config, option) and not getattr(skeleton, needs):
                raise ValueError(
                    f"pipeline.{option} needs the {needs} of the skeleton, and {skeleton.name} defines none: "
                    f"set pipeline.{option} to 0, or describe them in the skeleton's file"
                )
        if config.protocol == "infogcn" if config.mode_in_model is None else config.mode_in_model:
            stream = "jm" if stream.endswith("m") else "j"
        self.config, self.skeleton, self.stream, self.mode, self.channels = config, skeleton, stream, mode, channels
        self.training = mode == "train"
        self.num_clips = config.test_clips if mode == "test" else 1
        self.out_shape = (self.num_clips, config.num_persons, config.clip_len, skeleton.num_joints, len(channels))

    def __call__(self, clip: Any, rng: np.random.Generator | None = None) -> NDArray[np.float32]:
        """Network input of a clip.

        Args:
            clip: a `Clip` of a store, an array (M, T, V, C), or the result of `prepare`.
            rng: source of the draws; needed in training, unused otherwise.

        Returns:
            float32, `out_shape`. A clip of no persons, or of zeros only, gives zeros.

        Raises:
            ValueError: if the clip does not fit the skeleton, the channels or the protocol.
        """
        prepared = clip if isinstance(clip, Prepared) else self.prepare(clip)
        return self.apply(prepared, self.draw(prepared, rng))

    def prepare(self, clip: Any) -> Prepared:
        """The deterministic part, the same for every stream and mode.

        Joints with a coordinate that is no finite number become unseen joints (zeros).

        Raises:
            ValueError: if the clip has no frames, or other joints or channels than the pipeline was built for.
        """
        keypoints = np.asarray(getattr(clip, "keypoints", clip))
        joints = self.source_skeleton(keypoints).num_joints
        name = f"clip {clip.id!r}" if hasattr(clip, "id") else "the clip"
        if keypoints.ndim != 4 or keypoints.shape[2:] != (joints, len(self.channels)):
            raise ValueError(
                f"{name} has shape {keypoints.shape}, expected (persons, frames, {joints}, {len(self.channels)}) "
                f"for skeleton {self.skeleton.name} with channels {self.channels!r}: name the skeleton of the data "
                "instead, or prepare the data with this one"
            )
        if keypoints.dtype.kind != "f":
            raise ValueError(f"{name} holds {keypoints.dtype} values, expected floating-point coordinates")
        if not keypoints.shape[1]:
            raise ValueError(f"{name} has no frames: remove it from the data, there is nothing to sample")
        image_shape = getattr(clip, "image_shape", None)
        return Prepared(self.prepare_keypoints(without_gaps(keypoints), image_shape), image_shape)

    def draw(self, prepared: Prepared, rng: np.random.Generator | None = None) -> Draw:
        """Draw what the mode leaves to chance; validation and test draw nothing.

        Raises:
            ValueError: in training without a generator.
        """
        if not self.training:
            return self.fixed_draw(prepared.keypoints.shape[1])
        if rng is None:
            raise ValueError("a training pipeline draws at random: call it with a numpy Generator, pipeline(clip, rng)")
        return self.random_draw(prepared.keypoints.shape, rng)

    def source_skeleton(self, keypoints: NDArray[Any]) -> Skeleton:
        """The layout of the clips before the pipeline adds joints of its own."""
        return self.skeleton

    def prepare_keypoints(self, keypoints: NDArray[Any], image_shape: tuple[int, int] | None) -> NDArray[Any]:
        """The protocol's own part of `prepare`: (M, T, V, C) to (M, T', V, C)."""
        return keypoints

    @abstractmethod
    def fixed_draw(self, num_frames: int) -> Draw:
        """The draw of validation and test for a prepared clip of `num_frames` frames."""

    @abstractmethod
    def random_draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Draw:
        """The draw of training for a prepared clip of the given shape (M, T, V, C)."""

    @abstractmethod
    def apply(self, prepared: Prepared, draw: Draw) -> NDArray[np.float32]:
        """The network input that follows from a draw, float32 `out_shape`."""

    def positions(self, prepared: Prepared, draw: Draw, *, following: bool = False) -> NDArray[Any]:
        """What every stream of this draw follows from, in the precision in which they are computed.

        Args:
            prepared: the clip.
            draw: everything random.
            following: also give the frame of the source behind each frame, which a motion needs where frames are
                sampled after the streams are taken; other protocols have no use for it.

        Returns:
            (num_clips, M, T, V, C), or (num_clips, M, T, 2, V, C) with the frames that follow, NaN behind the last one.
        """
        return self.apply(prepared, draw)

    def streams_of(self, positions: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """The streams that `apply` would have given, for a whole batch and where it is: on the device.

        Args:
            positions: results of `positions` as one batch (B * num_clips, ...).
            names: which streams; of the motions of a protocol that samples last, the frames that follow must be there.

        Returns:
            Stream name -> float32 (B * num_clips, M, T, V, C).
        """
        found = streams.compute_all(positions, self.skeleton, names, kbone=self.config.kbone, compat=self.released)
        return {name: stream.float() for name, stream in found.items()}

    @property
    def in_channels(self) -> int:
        """Channels of the network input."""
        return self.out_shape[-1]

    def network_input(self, clips: Tensor) -> Tensor:
        """What the network takes, computed where the clips are: on the device, for a whole batch.

        Args:
            clips: results of `apply` as one batch (B, M, T, V, C).

        Returns:
            (B * views, ...), the views of one clip next to each other.
        """
        return clips

    def draw_changes(self, rng: np.random.Generator) -> dict[str, Any]:
        """The changes that make sense in every protocol, as fields of a `Draw`."""
        config = self.config
        changes: dict[str, Any] = {}
        if config.flip:
            changes["flip"] = augment.draw_flip(rng, config.flip)
        if config.part_drop:
            changes["part"] = augment.draw_part_drop(rng, self.skeleton, config.part_drop)
        if config.joint_dropout:
            changes["joints"] = augment.draw_joint_dropout(rng, self.skeleton.num_joints, config.joint_dropout)
        return changes

    def draw_deformation(self, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Any]:
        """Changes of the coordinates of a 3-D clip (M, T, V, C), as fields of a `Draw`."""
        changes: dict[str, Any] = {}
        if self.config.shear:
            changes["shear"] = augment.draw_shear(rng, self.config.shear)
        if self.config.noise:
            changes["noise"] = augment.draw_noise(rng, *shape[:3])
        return changes

    def deformed(self, x: NDArray[Any], draw: Draw) -> NDArray[Any]:
        """The clip (M, T, V, C) with the drawn shear, noise and exchange of left and right."""
        if draw.shear is not None:
            x = augment.shear(x, draw.shear)
        if draw.noise is not None:
            x = augment.noise(x, draw.noise, self.config.noise)
        if draw.flip:
            x = augment.flip(x, self.skeleton, mirror=self.config.flip_mirror)
        return x

    def cleared(self, x: NDArray[Any], draw: Draw) -> NDArray[Any]:
        """Clear the body part and the joints that a draw drops."""
        if draw.part != augment.NO_PART:
            x = augment.part_drop(x, self.skeleton, draw.part)
        return x if draw.joints is None else augment.joint_dropout(x, draw.joints)


def format_clips(x: NDArray[Any], num_clips: int, num_persons: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Cut (M, num_clips * T, V, C) into clips and fill or drop persons (PYSKL's FormatGCNInput).

    Returns:
        (num_clips, num_persons, T, V, C) of `dtype`; missing persons are zeros, the first ones stay.
    """
    persons = min(len(x), num_persons)
    length = x.shape[1] // num_clips
    out = np.zeros((num_clips, num_persons, length, *x.shape[2:]), dtype=dtype)
    out[:, :persons] = x[:persons].reshape(persons, num_clips, length, *x.shape[2:]).swapaxes(0, 1)
    return out


def without_gaps(keypoints: NDArray[Any]) -> NDArray[Any]:
    """The clip (M, T, V, C) with joints that hold a NaN or an infinity set to zero, which marks a joint as unseen."""
    if keypoints.dtype == np.float16:
        # The exponent bits tell; numpy's half-precision isfinite is several times slower.
        finite = (np.ascontiguousarray(keypoints).view(np.uint16) & 0x7C00) != 0x7C00
    else:
        finite = np.isfinite(keypoints)
    if finite.all():
        return keypoints
    return np.where(finite.all(axis=-1, keepdims=True), keypoints, keypoints.dtype.type(0))
