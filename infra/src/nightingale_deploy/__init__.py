"""Puts the control plane into a cloud and takes it down again: `python -m nightingale_deploy deploy aws`."""
