"""Checks Terraform modules against the published schemas of providers that cannot be installed everywhere."""
