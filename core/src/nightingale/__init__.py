"""Nightingale's core: the domain and its use cases, without a web framework or a screen."""
