"""The microservice chassis: how a service is built. Not one word of the product."""
