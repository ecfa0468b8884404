"""Dispatch and wiring: from a request to a use case."""
