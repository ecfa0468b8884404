"""Runs Terraform for one instance (`python -m nightingale_build`), and the local place's launcher."""
