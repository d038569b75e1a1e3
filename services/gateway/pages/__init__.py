"""Web pages: rendered here, readable without a stylesheet, usable without JavaScript."""
