"""The catalogue of benchmarks: classes, joints, splits, protocol, and what others have published on them."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from graphs.messages import unknown
from protogcn.data import class_names
from protogcn.data.published import published_results
from protogcn.data.readers.packed_rules import NO_RULES, RULES, PackedRules


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One data set with one way to split it.

    Attributes:
        name: how recipes, stores and run folders call it.
        title: its name in print.
        num_classes: number of classes.
        skeleton: layout of the stored joints.
        channels: ``"xyz"``, ``"xy"`` or ``"xys"`` (x, y, score).
        splits: (train, test) names, the usual pair first; several where the protocol averages over folds.
        protocol: default ``PipelineConfig.protocol``.
        reader: ``"pyskl"``, ``"nw_ucla"`` or ``"packed"``: the format the data circulates in.
        source: the file or folder to hand to ``protogcn data prepare``.
        citation: whom to cite.
        class_names: in label order, or None where they come with the data only.
        model_skeleton: layout after the default protocol, as the network sees it.
        split_sizes: clips in (train, test) of the usual pair, where they are known.
        packed: what a packed file of it does not say itself: performers of the training split, folds, units.
        published: model -> stream (``j b k jm bm km``) or fusion (``"2" "4" "6"``, see :mod:`protogcn.data.published`)
            -> top-1 in percent.
        published_sources: model -> where its numbers were read.
    """

    name: str
    title: str
    num_classes: int
    skeleton: str
    channels: str
    splits: tuple[tuple[str, str], ...]
    protocol: str
    reader: str
    source: str
    citation: str
    class_names: tuple[str, ...] | None = None
    model_skeleton: str = ""
    split_sizes: tuple[int, int] | None = None
    packed: PackedRules = field(init=False, repr=False)
    published: Mapping[str, Mapping[str, float]] = field(init=False, repr=False)
    published_sources: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_skeleton", self.model_skeleton or self.skeleton)
        object.__setattr__(self, "packed", RULES.get(self.name, NO_RULES))
        results = published_results(self.name)
        top1 = {model: MappingProxyType(result.top1) for model, result in results.items()}
        sources = {model: result.source for model, result in results.items()}
        object.__setattr__(self, "published", MappingProxyType(top1))
        object.__setattr__(self, "published_sources", MappingProxyType(sources))

    @property
    def train_split(self) -> str:
        """Name of the usual training split."""
        return self.splits[0][0]

    @property
    def test_split(self) -> str:
        """Name of the usual test split."""
        return self.splits[0][1]


def _ntu(name: str, classes: int, split: str, way: str, sizes: tuple[int, int]) -> Benchmark:
    return Benchmark(
        name=name,
        title=f"NTU RGB+D {classes}, {way}",
        num_classes=classes,
        skeleton="ntu25",
        channels="xyz",
        splits=((f"{split}_train", f"{split}_val"),),
        protocol="protogcn_3d",
        reader="pyskl",
        source=f"ntu{classes}_3danno.pkl (PYSKL annotations)",
        citation="Shahroudy et al., NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis, CVPR 2016"
        if classes == 60
        else "Liu et al., NTU RGB+D 120: A Large-Scale Benchmark for 3D Human Activity Understanding, TPAMI 2020",
        class_names=class_names.NTU_RGBD_120[:classes],
        split_sizes=sizes,
    )


def _poses(
    name: str,
    title: str,
    classes: int,
    file: str,
    citation: str,
    *,
    folds: int = 0,
    graph: str = "",
    names: tuple[str, ...] | None = None,
) -> Benchmark:
    """A video data set with HRNet poses in the PYSKL format."""
    splits = tuple((f"train{i}", f"test{i}") for i in range(1, folds + 1))
    return Benchmark(
        name=name,
        title=title,
        num_classes=classes,
        skeleton="coco17",
        channels="xys",
        splits=splits or (("train", "val"),),
        protocol="protogcn_2d" if graph else "pyskl_2d",
        reader="pyskl",
        source=f"{file} (PYSKL annotations)",
        citation=citation,
        class_names=names,
        model_skeleton=graph,
    )


def _packed(
    name: str,
    title: str,
    skeleton: str,
    citation: str,
    names: tuple[str, ...],
    *,
    splits: tuple[tuple[str, str], ...] = (("train", "test"),),
    split_sizes: tuple[int, int],
    channels: str = "xyz",
) -> Benchmark:
    """A small set in one file of arrays."""
    return Benchmark(
        name=name,
        title=title,
        num_classes=len(names),
        skeleton=skeleton,
        channels=channels,
        splits=splits,
        protocol="protogcn_3d" if channels == "xyz" else "pyskl_2d",
        reader="packed",
        source="one .npz file of packed arrays (docs/own_data.md)",
        citation=citation,
        class_names=names,
        split_sizes=split_sizes,
    )


def _folds(count: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"fold{i}_train", f"fold{i}_test") for i in range(count))


_LI_2010 = "Li et al., Action Recognition Based on A Bag of 3D Points, CVPRW 2010"
_XIA_2012 = "Xia et al., View Invariant Human Action Recognition Using Histograms of 3D Joints, CVPRW 2012"
_ALL = (
    _ntu("ntu60_xsub", 60, "xsub", "cross-subject", (40091, 16487)),
    _ntu("ntu60_xview", 60, "xview", "cross-view", (37646, 18932)),
    _ntu("ntu120_xsub", 120, "xsub", "cross-subject", (63026, 50919)),
    _ntu("ntu120_xset", 120, "xset", "cross-setup", (54468, 59477)),
    _poses(
        "kinetics400",
        "Kinetics-400",
        400,
        "k400_hrnet.pkl with the key points inside",
        "Kay et al., The Kinetics Human Action Video Dataset, 2017",
        graph="coco20",
        names=class_names.KINETICS_400,
    ),
    _poses(
        "finegym",
        "FineGYM (Gym99)",
        99,
        "gym_hrnet.pkl",
        "Shao et al., FineGym: A Hierarchical Video Dataset for Fine-grained Action Understanding, CVPR 2020",
        graph="coco20",
    ),
    Benchmark(
        name="nw_ucla",
        title="Northwestern-UCLA, cross-view",
        num_classes=10,
        skeleton="ucla20",
        channels="xyz",
        splits=(("train", "test"),),
        protocol="nw_ucla",
        reader="nw_ucla",
        source="the folder all_sqe of json files, a zip of it, or nw_ucla.npz",
        citation="Wang et al., Cross-view Action Modeling, Learning and Recognition, CVPR 2014",
        class_names=class_names.NW_UCLA,
        split_sizes=(1020, 464),
    ),
    _poses(
        "hmdb51",
        "HMDB51",
        51,
        "hmdb51_hrnet.pkl",
        "Kuehne et al., HMDB: A Large Video Database for Human Motion Recognition, ICCV 2011",
        folds=3,
        names=class_names.HMDB51,
    ),
    _poses(
        "ucf101",
        "UCF101",
        101,
        "ucf101_hrnet.pkl",
        "Soomro et al., UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild, 2012",
        folds=3,
        names=class_names.UCF101,
    ),
    _poses(
        "diving48",
        "Diving48",
        48,
        "diving48_hrnet.pkl",
        "Li et al., RESOUND: Towards Action Recognition without Representation Bias, ECCV 2018",
    ),
    _packed(
        "utd_mhad",
        "UTD-MHAD, cross-subject",
        "utd20",
        "Chen et al., UTD-MHAD: A Multimodal Dataset for Human Action Recognition, ICIP 2015",
        class_names.UTD_MHAD,
        split_sizes=(431, 430),
    ),
    _packed(
        "msr_action3d",
        "MSR-Action3D, cross-subject",
        "msr20",
        _LI_2010,
        class_names.MSR_ACTION3D,
        split_sizes=(291, 275),
    ),
    _packed(
        "msr_action3d_as",
        "MSR-Action3D, cross-subject within AS1, AS2 and AS3",
        "msr20",
        _LI_2010,
        class_names.MSR_ACTION3D,
        splits=tuple((f"as{i}_train", f"as{i}_test") for i in (1, 2, 3)),
        split_sizes=(119, 106),
    ),
    _packed(
        "utkinect",
        "UTKinect-Action3D, cross-subject",
        "ucla20",
        _XIA_2012,
        class_names.UTKINECT,
        split_sizes=(100, 99),
    ),
    _packed(
        "utkinect_loso",
        "UTKinect-Action3D, leave one sequence out",
        "ucla20",
        _XIA_2012,
        class_names.UTKINECT,
        splits=_folds(199),
        split_sizes=(198, 1),
    ),
    _packed(
        "sbu",
        "SBU Kinect Interaction, five folds",
        "kinect15",
        "Yun et al., Two-person Interaction Detection Using Body-Pose Features and MIL, CVPRW 2012",
        class_names.SBU,
        splits=_folds(5),
        split_sizes=(227, 55),
    ),
    _packed(
        "penn_action",
        "Penn Action",
        "penn13",
        "Zhang et al., From Actemes to Action: A Strongly-supervised Representation, ICCV 2013",
        class_names.PENN_ACTION,
        split_sizes=(1258, 1068),
        channels="xys",
    ),
)
_CATALOGUE = {benchmark.name: benchmark for benchmark in _ALL}


def get_benchmark(name: str | Benchmark) -> Benchmark:
    """The benchmark called ``name`` (a :class:`Benchmark` is returned as it is).

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if isinstance(name, Benchmark):
        return name
    key = str(name).lower().replace("-", "_")
    if key not in _CATALOGUE:
        raise ValueError(unknown("benchmark", name, _CATALOGUE, show_all=True))
    return _CATALOGUE[key]


def list_benchmarks(pattern: str = "*") -> list[str]:
    """Names in the catalogue that match the shell pattern, e.g. ``"ntu*"``."""
    return [name for name in _CATALOGUE if fnmatch.fnmatchcase(name, pattern)]
