"""What the API and the pages show, composed of the services' answers."""
