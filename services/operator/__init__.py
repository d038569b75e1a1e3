"""The `rapport` command of operators. It calls the services' internal routes and has no database."""
