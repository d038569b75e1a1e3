"""Mail: addresses, messages and their delivery by SMTP."""
