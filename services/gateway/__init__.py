"""The gateway: one public API composed of the services' answers, and plain server-rendered pages. No database."""
