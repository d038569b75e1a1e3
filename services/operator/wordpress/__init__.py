"""Import of WordPress exports (WXR, "WordPress eXtended RSS", 1.0 to 1.2)."""
