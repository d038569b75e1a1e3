"""SQL of comments and of the discussions they belong to, one module for each table."""
