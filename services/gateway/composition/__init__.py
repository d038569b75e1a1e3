"""Compose answers from the answers of several services."""
