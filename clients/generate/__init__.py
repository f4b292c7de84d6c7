"""Types of the clients, generated from docs/openapi.yaml. Run as `python -m generate`."""
