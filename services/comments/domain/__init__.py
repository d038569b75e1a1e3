"""Rules of comments and of the tree they form. No I/O."""
