"""The microservice chassis: what every service is built from. It knows nothing of the product."""
