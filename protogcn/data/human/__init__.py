"""A procedural human: proportions, habits, actions, and its points in any layout."""
