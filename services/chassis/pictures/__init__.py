"""Pictures: what is taken as one, and its re-encoding in a process of its own."""
