"""The SSH gateway: lets a person's tunnel through to that person's own running instance, and nothing else."""
