"""The history of a run: one row of metrics per epoch, in a file and on the screen."""

import csv
import io
from pathlib import Path

from protogcn.training.run_folder import write_atomically


class History:
    """Rows of ``metrics.csv``.

    They also travel in the checkpoints, so a resumed run goes on with exactly the rows of the epochs it goes on from;
    Lightning's own CSV logger deletes what an interrupted run had written.

    Attributes:
        path: where to write.
        stream: named in front of each line on the screen where several train at once.
        rows: epoch, losses, accuracies as fractions of one, learning rate and seconds of each epoch.
    """

    def __init__(self, path: Path, stream: str = "") -> None:
        self.path, self.stream = path, stream
        self.rows: list[dict[str, float]] = []

    @property
    def seconds(self) -> float:
        """Time spent in epochs, those before a resume included."""
        return sum(row["seconds"] for row in self.rows)

    def write(self) -> None:
        """Write all rows."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in self.rows)
        write_atomically(self.path, text.getvalue())

    def describe(self, epochs: int, clips: int) -> str:
        """The last row in one line, with throughput and the time that is left.

        Args:
            epochs: of the whole run.
            clips: that one epoch trains on.
        """
        row = self.rows[-1]
        recent = [entry["seconds"] for entry in self.rows[-5:]]
        left = (epochs - row["epoch"]) * sum(recent) / len(recent)
        name = f"{self.stream:<3}" if self.stream else ""
        tested = f"  test split {100 * row['val_top1']:5.1f} %" if "val_top1" in row else ""
        return (
            f"{name}epoch {row['epoch']:>{len(str(epochs))}.0f}/{epochs}  loss {row['train_loss']:.3f}  "
            f"training {100 * row['train_top1']:5.1f} %{tested}  {clips / row['seconds']:.0f} clips/s  "
            f"{duration(left)} left"
        )


def duration(seconds: float) -> str:
    """A time span for a reader: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
