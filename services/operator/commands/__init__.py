"""The commands of `rapport`, a module for each."""
