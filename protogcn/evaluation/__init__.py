"""Score files, metrics, fusion and reports; needs numpy only."""
