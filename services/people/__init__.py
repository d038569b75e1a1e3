"""Who somebody is: sign-in, sessions, profiles, roles, addresses. The only home of an e-mail address."""
