"""The Azure host: how the requests of Functions reach the core."""
