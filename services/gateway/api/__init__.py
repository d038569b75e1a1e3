"""The public API under `/v1`, one module per subject. A handler forwards, composes and answers; nothing else."""
