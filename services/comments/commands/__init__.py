"""Commands of comments: one function, one transaction, one event."""
