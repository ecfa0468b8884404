"""Adapters: one file a technology; its SDK is imported only there."""
