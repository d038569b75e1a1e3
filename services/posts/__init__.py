"""Posts: what is published, every revision of it, and who may change it."""
