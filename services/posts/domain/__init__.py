"""The rules of posts. Pure: no I/O."""
