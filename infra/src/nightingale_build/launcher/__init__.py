"""The launcher: starts one instance's Jupyter server on this machine, stays with it, and says how it ended."""
