"""Who gets mail about a comment, and the delivery of that mail."""
