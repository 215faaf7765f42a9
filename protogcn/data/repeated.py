"""Test clips that a benchmark's training split holds too, as its files circulate."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Repeated:
    """What is repeated.

    Attributes:
        pattern: regular expression that the names of the repeated test clips match in full.
        note: which they are, in a sentence.
    """

    pattern: str
    note: str

    def unseen(self, ids: Sequence[str] | NDArray[np.str_]) -> NDArray[np.bool_]:
        """Which of the test clips, by name, are not in the training split as well: bool (n,)."""
        return np.array([re.fullmatch(self.pattern, str(name)) is None for name in ids], dtype=bool)


# Found by `protogcn data check` on the files that the public feeders read.
REPEATED = {
    "nw_ucla": Repeated(
        r"a0[23]_.*_v03",
        "95 of the 464 test clips, all of *pick up with two hands* and *drop trash*, are byte for byte training clips, "
        "of view 2: so it is in the files that the public feeders read. Published numbers include them.",
    )
}
