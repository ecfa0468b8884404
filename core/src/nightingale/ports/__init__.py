"""Ports: what the services need from outside, as Protocols only."""
