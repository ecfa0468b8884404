"""The client of the platform's API: one typed method per operation, errors mapped at this boundary."""
