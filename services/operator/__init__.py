"""The `rapport` command: what an operator does. It calls the services' internal routes and has no database."""
