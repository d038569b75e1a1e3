"""Snapshots of one service's database: written, checked, restored."""
