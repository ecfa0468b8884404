"""The domain: standard library only, frozen, no clock, no I/O."""
