"""The OpenAPI description of the public API."""
