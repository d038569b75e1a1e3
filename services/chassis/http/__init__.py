"""HTTP: routes, request validation, problem details, the server."""
