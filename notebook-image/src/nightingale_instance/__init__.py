"""What runs inside an instance: the entry point of its Jupyter server, and who may enter it."""
