"""Networks that see every person by itself and bring the persons of a clip together in their head."""

from torch import Tensor

from protogcn.models.base import SkeletonClassifier


class PersonClassifier(SkeletonClassifier):
    """A network whose backbone runs over persons, side by side in the batch, which do not see each other.

    Only batch statistics in training tie them together: in evaluation mode a row of :meth:`forward_persons` depends on
    the same row of its input alone. A subclass implements :meth:`enter` and :meth:`forward_persons`.
    """

    def enter(self, clips: Tensor) -> Tensor:
        """Clips as the backbone gets them, checked and normalised: (N, M, T, V, C) -> (N * M', C', T, V).

        The persons of a sample lie side by side, M' of them: M, or as many as the network was built for.
        """
        raise TypeError(f"{type(self).__name__} must define enter")

    def forward_persons(self, persons: Tensor) -> Tensor:
        """Persons (P, C', T, V) to features (P, num_features, T', V)."""
        raise TypeError(f"{type(self).__name__} must define forward_persons")

    def forward_features(self, clips: Tensor) -> Tensor:
        return self.forward_persons(self.enter(clips)).unflatten(0, (clips.shape[0], -1))
