"""The sections of a recipe: which network and clips, how the weights move, how long, how scores come about."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class ModelConfig:
    """Which network.

    Attributes:
        name: an entry of ``protogcn models``.
        module: Python file or module that registers a model of your own; imported first.
        skeleton: layout whose graph and bones the network takes, where its joints are those of the clips but not its
            edges; empty takes that of the clips. PYSKL's graph of NTU is ``ntu25_pyskl``.
        options: its options, see ``protogcn models <name>``.
        frozen_stages: k keeps the stem and the first k stages or blocks as they are, their batch norms included; 0 the
            stem alone, -1 nothing.
    """

    name: str = "protogcn"
    module: str = ""
    skeleton: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    frozen_stages: int = -1

    def __post_init__(self) -> None:
        if self.frozen_stages < -1:
            raise ValueError(
                f"model.frozen_stages must be -1 (nothing), 0 (the stem) or more; got {self.frozen_stages}"
            )


@dataclass(frozen=True)
class InitConfig:
    """What the weights start from.

    Attributes:
        weights: a ``model.safetensors``, a run folder, a checkpoint ``*.ckpt`` of a run, or an official checkpoint;
            ``{stream}`` in it stands for the stream. Empty starts from weights drawn by the seed.
        protocol: ``scratch`` (no weights), ``finetune`` (all weights train) or ``linear`` (the classifier alone trains,
            the backbone is frozen); None takes ``finetune`` where there are weights, else ``scratch``.
        partial: also take weights of which only a part fits; the rest starts afresh.
    """

    weights: str = ""
    protocol: Literal["scratch", "linear", "finetune"] | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        if self.weights and self.protocol == "scratch":
            raise ValueError(f"the protocol scratch takes no weights, got init.weights {self.weights}: choose another")
        if not self.weights and self.protocol in ("linear", "finetune"):
            raise ValueError(
                f"the protocol {self.protocol} starts from weights: name them by --init <file or run folder>"
            )
        if self.partial and not self.weights:
            raise ValueError(
                "init.partial is about the weights to start from: name them by --init <file or run folder>"
            )

    @property
    def way(self) -> str:
        """The protocol, also where it follows from the weights."""
        return self.protocol or ("finetune" if self.weights else "scratch")


@dataclass(frozen=True)
class DataConfig:
    """Which clips.

    Attributes:
        store: folder written by ``protogcn data prepare``.
        train: split to learn from; empty takes the benchmark's.
        test: split to validate and test on; empty takes the benchmark's.
        fold: which pair of splits, counted from 0, where the benchmark has several (SBU has five, HMDB51 three).
        repeat: passes over the training split that count as one epoch.
        sampling: ``uniform`` shows every training clip once per pass; ``class_balanced`` shows every class equally
            often, in an epoch of about the same length, in rounds of one clip of each class.
        class_repeat: passes over single classes, times ``repeat``; 1 for what is not named. A list of one number per
            class, or a mapping of class names, class indices or ranges of them (``{60-119: 2}``) to numbers. Of a class
            with 1.5, every clip is shown once per epoch and a random half of them twice (PYSKL's ``class_prob``).
        unseen: classes that training must not know: a split file, the name of one in ``configs/<benchmark>/zero_shot``,
            or a list of class names. The network is built for the others, and validated and tested on theirs.
        shots: learn from at most so many clips of every class; 0 takes all. Together with ``unseen``, from so many of
            every class named there, beside all clips of the others: the network then knows all classes.
        workers: loader processes; 0 loads in the training process, which is best on a few cores.
    """

    store: str = ""
    train: str = ""
    test: str = ""
    fold: int = 0
    repeat: int = 1
    sampling: Literal["uniform", "class_balanced"] = "uniform"
    class_repeat: dict[int | str, float] | list[float] = field(default_factory=dict)
    unseen: list[str] | str = field(default_factory=list)
    shots: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        if self.shots < 0:
            raise ValueError(f"data.shots must be a number of clips per class, 0 for all; got {self.shots}")
        values = self.class_repeat.values() if isinstance(self.class_repeat, Mapping) else self.class_repeat
        if not all(0 <= value < math.inf for value in values):
            raise ValueError(f"data.class_repeat must hold numbers of passes, 0 or more; got {self.class_repeat}")
        if self.class_repeat and self.sampling != "uniform":
            raise ValueError(
                f"data.sampling {self.sampling} decides how often classes are shown: leave out data.class_repeat"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights move.

    Attributes:
        name: ``sgd`` or ``adamw``.
        lr: peak learning rate, for the whole batch of all processes.
        weight_decay: on all parameters, as published.
        momentum: of sgd.
        nesterov: of sgd.
        betas: of adamw, decays of the averages of the gradient and of its square.
        eps: of adamw, added to the root of the averaged square.
        multipliers: a part of the full name of a parameter -> factor of its learning rate, such as
            ``{text_encoder: 0.001, logit_scale: 0.1}``. Of several parts that a name holds the longest decides, of
            equally long ones the first in the alphabet.
        decay_multipliers: the same for the weight decay.
        layer_decay: factor of the learning rate from each stage of the network to the one before it, down from the
            head, whose rate is ``lr``; on top of ``multipliers``. 1 gives all stages the same rate.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.025
    weight_decay: float = 5e-4
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    multipliers: dict[str, float] = field(default_factory=dict)
    decay_multipliers: dict[str, float] = field(default_factory=dict)
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        for word in ("multipliers", "decay_multipliers"):
            given = getattr(self, word)
            if not all(key and 0 <= value < math.inf for key, value in given.items()):
                raise ValueError(f"optimizer.{word} maps parts of parameter names to factors of 0 or more; got {given}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"optimizer.layer_decay must lie in (0, 1], got {self.layer_decay}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimizer.betas must lie in [0, 1), got {list(self.betas)}")
        if not 0 < self.eps < math.inf:
            raise ValueError(f"optimizer.eps must be above 0, got {self.eps}")


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves.

    Attributes:
        name: ``cosine`` to zero, ``step`` by ``gamma`` at ``milestones`` (epochs), or ``constant``.
        warmup_epochs: linear rise from zero, before the schedule begins.
        milestones: epochs at which ``step`` multiplies by ``gamma``.
        gamma: factor of ``step``.
        interval: the rate moves at every ``iteration``, or only from ``epoch`` to epoch, as in CTR-GCN and InfoGCN: the
            first of five epochs of warm-up then has a fifth of the rate throughout.
        warmup_start: factor that the rise begins with instead of zero; it then multiplies the schedule, which begins
            with the run, as in MMCV (SkeletonCLIP: 0.1).
    """

    name: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    milestones: list[int] = field(default_factory=list)
    gamma: float = 0.1
    interval: Literal["iteration", "epoch"] = "iteration"
    warmup_start: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_start <= 1:
            raise ValueError(f"schedule.warmup_start must lie in [0, 1], got {self.warmup_start}")


@dataclass(frozen=True)
class TrainerConfig:
    """How long and how exactly.

    Attributes:
        epochs: passes over the training split (times ``data.repeat``).
        batch_size: clips per process and step.
        eval_batch_size: clips per process in validation and test.
        accumulate: steps whose gradients are added before the weights move.
        precision: of Lightning: ``32-true``, ``bf16-mixed``, ``16-mixed``, ``64-true``.
        compile: let ``torch.compile`` fuse the network's part of a training step, for the same losses but for rounding.
            It costs a minute at the start and needs a C++ compiler, on GPUs Triton.
        gradient_clip: largest gradient norm; 0 does not clip.
        ema: decay of the moving average of the weights that is validated, tested and saved; 0 keeps none.
        patience: epochs without a better validation top-1 before training stops; 0 never stops early.
        validate_every: epochs between validations, the last epoch always being validated; 0 validates only that.
        tensorboard: also log for TensorBoard (``pip install protogcn[log]``).
    """

    epochs: int = 150
    batch_size: int = 16
    eval_batch_size: int = 64
    accumulate: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    compile: bool = False
    gradient_clip: float = 0.0
    ema: float = 0.0
    patience: int = 0
    validate_every: int = 1
    tensorboard: bool = False


@dataclass(frozen=True)
class EvaluationConfig:
    """How clips of the test split become one score each.

    Attributes:
        average: several test clips are averaged as ``probabilities`` (after softmax, PYSKL's way) or as ``logits``.
        checkpoint: which weights are tested, of the ``last`` epoch or of the ``best`` validation. Where validation and
            test are the same split, as in all published protocols, ``best`` looks at the test labels.
    """

    average: Literal["probabilities", "logits"] = "probabilities"
    checkpoint: Literal["last", "best"] = "last"
