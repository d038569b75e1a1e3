"""The runtime of a process: roles, settings, logs, metrics, waiting."""
