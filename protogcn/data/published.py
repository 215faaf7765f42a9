"""Top-1 percentages that papers and repositories report, by benchmark and model.

Keys of a result: ``j b k jm bm km`` for single streams (``b`` of PoseC3D are its limb heat maps), ``"2"``, ``"4"``,
``"6"`` for fusions of so many streams, ``all`` for the best fusion where the number of streams is not on record.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Results of one model on one benchmark.

    Attributes:
        top1: stream or fusion -> top-1 in percent.
        source: where the numbers were read.
    """

    top1: Mapping[str, float]
    source: str


_PROTOGCN_KEYS = ("j", "b", "k", "2", "4", "6")
_PROTOGCN = """
ntu60_xsub  91.54 91.98 91.59 92.96 93.53 93.81
ntu60_xview 96.33 96.15 96.61 97.23 97.49 97.76
ntu120_xsub 85.52 88.96 88.30 89.75 90.43 90.92
ntu120_xset 88.35 90.01 89.65 91.23 91.86 92.16
kinetics400 48.02 47.06 45.86 49.85 51.33 51.85
finegym     93.28 94.84 94.44 95.35 95.62 95.94
"""

_ZOO_BENCHMARKS = ("ntu60_xsub", "ntu60_xview", "ntu120_xsub", "ntu120_xset")
_ZOO_KEYS = ("j", "b", "jm", "bm", "2", "4")
_ZOO = {
    "ST-GCN (vanilla)": "81.5/81.0/79.9/81.2/84.3/86.6 90.1/87.7/88.8/88.3/91.4/93.2",
    "ST-GCN": "87.8/88.6/85.8/86.2/90.0/90.7 95.5/95.0/93.7/92.8/96.2/96.5 82.1/83.7/80.3/80.6/85.6/86.2 "
    "84.5/85.8/82.7/83.0/87.5/88.4",
    "ST-GCN++": "89.3/90.1/87.5/87.3/91.4/92.1 95.6/95.5/94.3/93.8/96.7/97.0 83.2/85.6/80.4/81.5/87.0/87.5 "
    "85.6/87.5/84.3/83.0/89.1/89.8",
    "ST-GCN++ (strong augmentation)": "90.3/90.8/88.3/87.8/92.2/92.6 96.6/95.9/95.1/93.7/97.1/97.4 "
    "84.3/87.0/82.2/81.9/88.2/88.6 86.7/88.3/85.1/84.4/90.1/90.8",
    "AAGCN": "89.0/89.1/86.9/86.6/90.8/91.5 95.7/95.2/93.9/92.4/96.4/96.7 82.8/84.7/80.0/80.2/86.3/86.9 "
    "84.8/86.2/82.0/82.8/88.1/88.8",
    "MS-G3D": "89.6/89.3/87.7/86.7/91.0/91.7 95.9/95.0/94.0/92.4/96.4/96.9 84.0/85.3/82.2/81.5/86.9/87.8 "
    "86.0/87.3/82.9/83.2/88.9/89.6",
    "CTR-GCN": "89.6/90.0/88.0/87.5/91.5/92.1 95.6/95.4/94.4/93.6/96.6/97.0 84.0/85.9/81.1/82.2/87.5/88.1 "
    "85.9/87.4/84.1/83.9/89.2/89.9",
    "DG-STGCN": "91.2/91.6/88.5/88.1/92.9/93.2 96.7/96.1/95.6/94.3/97.4/97.5 85.7/88.0/82.9/83.2/89.3/89.6 "
    "87.9/89.8/85.8/85.7/91.2/91.3",
}

_POSEC3D_KEYS = ("j", "b", "2")
_POSEC3D = """
ntu60_xsub  93.7 93.4 94.1
ntu60_xview 96.5 96.0 96.9
ntu120_xsub 85.9 85.9 86.7
ntu120_xset 89.7 89.7 90.3
kinetics400 47.3 46.9 49.1
finegym     93.8 93.8 94.1
"""

_PYSKL = "PYSKL model zoo"
_LITERATURE = "literature, quoted from memory: to be checked"
_POSEC3D_PAPER = "PoseC3D paper, SlowOnly-R50 on HRNet poses"
_RETRAINED = "retrained by the authors of SkeletonCLIP"
_SKELETONCLIP = "authors of SkeletonCLIP, SlowOnly-R50 and the text tower of CLIP ViT-B/16"
_SINGLE = {
    "nw_ucla": {
        "CTR-GCN": Published({"4": 96.5}, "CTR-GCN paper (users who retrain report 95.0 to 95.5)"),
        "InfoGCN": Published({"6": 97.0}, "README of the InfoGCN repository"),
        "FR-Head": Published(
            {"j": 94.40, "b": 93.10, "jm": 92.89, "bm": 89.44, "4": 96.77}, "result files of the FR-Head repository"
        ),
        "Shift-GCN": Published({"4": 94.6}, _LITERATURE),
        "DC-GCN+ADG": Published({"4": 95.3}, _LITERATURE),
        "AGC-LSTM": Published({"2": 93.3}, _LITERATURE),
        "HD-GCN": Published({"all": 97.2}, _LITERATURE),
        "DeGCN": Published({"all": 97.2}, _LITERATURE),
        "BlockGCN": Published({"all": 96.9}, _LITERATURE),
    },
    "ntu60_xsub": {
        "InfoGCN": Published({"6": 93.0}, "InfoGCN paper (a user who retrained reports 92.7)"),
        "PoseC3D (paper)": Published({"j": 93.7}, _POSEC3D_PAPER),
        "PoseC3D (retrained)": Published({"j": 93.09}, _RETRAINED),
        "SkeletonCLIP": Published({"j": 92.47}, _SKELETONCLIP),
    },
    "ntu60_xview": {
        "PoseC3D (paper)": Published({"j": 96.6}, _POSEC3D_PAPER),
        "PoseC3D (retrained)": Published({"j": 96.03}, _RETRAINED),
    },
    "hmdb51": {
        "PoseC3D scratch": Published({"j": 58.6}, _POSEC3D_PAPER + "; split 1"),
        "PoseC3D linear": Published({"j": 64.9}, _POSEC3D_PAPER + ", from Kinetics-400; split 1"),
        "PoseC3D fine-tune": Published({"j": 69.3}, _POSEC3D_PAPER + ", from Kinetics-400; split 1"),
        "PoseC3D scratch (retrained)": Published({"j": 35.56}, _RETRAINED + "; split 1"),
        "PoseC3D fine-tune (retrained)": Published({"j": 68.3}, _RETRAINED + "; split 1"),
        "SkeletonCLIP": Published({"j": 58.04}, _SKELETONCLIP + "; split 1, from scratch"),
    },
    "ucf101": {
        "PoseC3D scratch": Published({"j": 79.1}, _POSEC3D_PAPER + "; split 1"),
        "PoseC3D linear": Published({"j": 83.1}, _POSEC3D_PAPER + ", from Kinetics-400; split 1"),
        "PoseC3D fine-tune": Published({"j": 87.0}, _POSEC3D_PAPER + ", from Kinetics-400; split 1"),
        "PoseC3D scratch (retrained)": Published({"j": 62.89}, _RETRAINED + "; split 1"),
        "PoseC3D fine-tune (retrained)": Published({"j": 86.11}, _RETRAINED + "; split 1"),
        "SkeletonCLIP": Published({"j": 76.32}, _SKELETONCLIP + "; split 1, from scratch"),
    },
    "utd_mhad": {
        "JTM": Published({"all": 85.8}, _LITERATURE),
        "JDM": Published({"all": 88.1}, _LITERATURE),
        "AGCN (Fusion-GCN, skeletons only)": Published({"all": 92.3}, _LITERATURE),
    },
    "msr_action3d_as": {
        "Lie group": Published({"all": 92.5}, _LITERATURE + "; mean of AS1 to AS3"),
        "HBRNN-L": Published({"all": 94.5}, _LITERATURE + "; mean of AS1 to AS3"),
    },
    "utkinect_loso": {
        "Lie group": Published({"all": 97.1}, _LITERATURE + "; leave one sequence out"),
        "ST-LSTM": Published({"all": 97.0}, _LITERATURE + "; leave one sequence out"),
        "GCA-LSTM": Published({"all": 98.5}, _LITERATURE + "; leave one sequence out"),
    },
    "sbu": {
        "Co-occurrence LSTM": Published({"all": 90.4}, _LITERATURE + "; mean of 5 folds"),
        "ST-LSTM": Published({"all": 93.3}, _LITERATURE + "; mean of 5 folds"),
        "GCA-LSTM": Published({"all": 94.9}, _LITERATURE + "; mean of 5 folds"),
        "VA-LSTM": Published({"all": 97.2}, _LITERATURE + "; mean of 5 folds"),
        "HCN": Published({"all": 98.6}, _LITERATURE + "; mean of 5 folds"),
    },
}


def _table(text: str, keys: tuple[str, ...], model: str, source: str) -> dict[str, dict[str, Published]]:
    rows = (line.split() for line in text.strip().splitlines())
    return {
        name: {model: Published(dict(zip(keys, map(float, values), strict=True)), source)} for name, *values in rows
    }


def _zoo() -> dict[str, dict[str, Published]]:
    tables: dict[str, dict[str, Published]] = {name: {} for name in _ZOO_BENCHMARKS}
    for model, cells in _ZOO.items():
        for name, cell in zip(_ZOO_BENCHMARKS, cells.split(), strict=False):
            values = map(float, cell.split("/"))
            tables[name][model] = Published(dict(zip(_ZOO_KEYS, values, strict=True)), _PYSKL + ", Kinect 3D skeletons")
    return tables


def published_results(benchmark: str) -> dict[str, Published]:
    """Model -> published results on ``benchmark``; empty where none are known."""
    merged: dict[str, Published] = {}
    for table in (
        _table(_PROTOGCN, _PROTOGCN_KEYS, "ProtoGCN", "ProtoGCN paper"),
        _zoo(),
        _table(_POSEC3D, _POSEC3D_KEYS, "PoseC3D", _PYSKL + ", SlowOnly-R50 on HRNet poses"),
        _SINGLE,
    ):
        merged |= table.get(benchmark, {})
    return merged
