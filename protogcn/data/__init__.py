"""Clips in: readers, store, benchmarks, preprocessing, sampling, batches."""
