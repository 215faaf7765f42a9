"""Graph and temporal units shared by more than one model."""
