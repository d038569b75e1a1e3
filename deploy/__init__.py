"""How Rapport is run: the image, and the same stack without Docker."""
