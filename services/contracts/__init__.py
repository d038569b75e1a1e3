"""The published language: events, commands and bodies that services exchange, and nothing else."""
