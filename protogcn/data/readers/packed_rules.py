"""What the packed files of small public sets do not say themselves: performers who train, folds, units."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PackedRules:
    """What a benchmark knows of its packed file beyond the arrays in it.

    Attributes:
        train_subjects: with an array ``subject`` and no split in the file, the performers of ``train``.
        label_subsets: arrays of class numbers; each makes a fold ``<name>_train``, ``<name>_test`` of the clips of
            those classes, divided like ``train`` and ``test``, instead of these two.
        leave_one_out: a fold for each clip, which alone is ``fold<i>_test``, instead of all other splits.
        scale, offset: the stored coordinates are ``scale * x + offset``, axis by axis.
        unit_note: what scale and offset do, in words, for the notes of the store.
    """

    train_subjects: tuple[int, ...] = ()
    label_subsets: tuple[str, ...] = ()
    leave_one_out: bool = False
    scale: tuple[float, float, float] | None = None
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    unit_note: str = ""


NO_RULES = PackedRules()
_ODD = (1, 3, 5, 7, 9)

#: Benchmark -> its rules, where it has any.
RULES = {
    "utd_mhad": PackedRules(train_subjects=(1, 3, 5, 7)),
    "msr_action3d": PackedRules(train_subjects=_ODD),
    "msr_action3d_as": PackedRules(train_subjects=_ODD, label_subsets=("as1", "as2", "as3")),
    "utkinect": PackedRules(train_subjects=(1, 2, 3, 4, 5)),
    "utkinect_loso": PackedRules(leave_one_out=True),
    "sbu": PackedRules(
        scale=(-2.56, -1.92, 1.28),
        offset=(1.28, 0.96, 0.0),
        unit_note="metres in the frame of the camera, y up: x = 1.28 - 2.56 x, y = 0.96 - 1.92 y, z = 1.28 z of the "
        "normalised numbers in the file (its bones keep their lengths within 1 % then)",
    ),
}
