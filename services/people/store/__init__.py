"""The SQL of people, one module for each group of tables."""
