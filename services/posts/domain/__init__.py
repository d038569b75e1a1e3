"""Rules and values of posts. No I/O."""
