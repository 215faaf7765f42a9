"""One thin script per benchmark: fuse streams and print the table beside the published numbers."""
