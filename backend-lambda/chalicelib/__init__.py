"""The Lambda host: how Chalice's requests reach the core."""
