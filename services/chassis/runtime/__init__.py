"""What every process needs: roles, settings, logs, metrics, waiting."""
