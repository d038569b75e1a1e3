"""Compose answers of what several services say."""
