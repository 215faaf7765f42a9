"""Thin scripts around `protogcn bench`, for machines that are at hand for a few minutes only."""
