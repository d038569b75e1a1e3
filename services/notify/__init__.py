"""Who must hear of a comment, and the one mail that tells them."""
