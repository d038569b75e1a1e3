"""A mailbox for development: a real SMTP server that keeps every mail and shows it in the browser."""
