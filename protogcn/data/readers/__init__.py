"""One file per source format; each reader yields clips for the store."""
