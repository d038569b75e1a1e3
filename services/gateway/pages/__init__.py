"""Plain pages for people: rendered here, readable without a stylesheet, usable without JavaScript."""
