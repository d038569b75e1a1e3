"""Answers that are alike for every anonymous reader, kept until what they show changes."""
