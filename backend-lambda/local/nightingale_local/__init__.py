"""The whole platform on one machine: a supervising process with the API, the scheduler and the gateway as children."""
