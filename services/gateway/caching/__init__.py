"""Keep answers that are the same for every stranger, every moderator or one person, until what they show changes."""
