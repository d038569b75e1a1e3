"""Backups of a whole installation, made of the services' own snapshots."""
