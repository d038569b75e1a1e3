"""Answers composed of what several services say."""
