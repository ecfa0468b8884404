"""A machine in a cloud becomes an instance: it proves who it is, starts the launcher, and stays its door."""
