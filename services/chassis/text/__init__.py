"""Markdown and imported HTML to safe HTML and to plain text."""
