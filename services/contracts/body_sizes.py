"""How many bytes the body of a request may have, at the gateway and at the service behind it.

Lengths count code points in NFC, however JSON spells them: an escape `\\u0000` has 6 bytes, and one code point in NFC
may have been four of them, so 24 bytes. In a form, percent-encoded, it has up to 27: three Hangul letters of 9.
"""

BODY_BYTES = 256 * 1024  # where nothing else is said, so of a comment too: 10,000 × 24
FORM_BYTES = 320 * 1024  # 10,000 × 27
POST_FORM_BYTES = 1664 * 1024  # 60,000 × 27
POST_BYTES = 1536 * 1024  # 60,000 × 24
BATCH_BYTES = 512 * 1024  # of short comments that came at the same time
IMAGE_BYTES = 5 * 1024 * 1024  # the file of a picture
AVATAR_BYTES = 1024 * 1024
IMPORT_BYTES = 8 * 1024 * 1024
