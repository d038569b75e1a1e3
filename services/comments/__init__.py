"""Comments: the discussion under a post, its threads and its moderation."""
