"""Keep answers that are the same for every anonymous reader, until what they show changes."""
