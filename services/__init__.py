"""Rapport: small services that publish, discuss and notify."""
