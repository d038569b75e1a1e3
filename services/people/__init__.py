"""People: sign-in, sessions, profiles, roles and addresses. The only service that stores e-mail addresses."""
