"""How many bytes the body of a request may have, at the gateway and at the service behind it."""

BODY_BYTES = 64 * 1024  # where nothing else is said, so of a comment too
POST_BYTES = 256 * 1024
IMPORT_BYTES = 8 * 1024 * 1024
