"""The HTTP side of a service: routes, request checks, problem details, the server."""
