"""All roles of all services in one process."""
