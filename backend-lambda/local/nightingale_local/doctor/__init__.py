"""`nightingale admin doctor`: looks whether an account, or this machine, can carry the platform."""
