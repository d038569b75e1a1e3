"""Posts: drafts, publication, revisions and their authors' rights."""
