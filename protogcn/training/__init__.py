"""From a recipe to a finished run: fit, test, scores, plots."""
