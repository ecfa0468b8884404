"""The host that runs the function app on one machine: it does what the app's bindings say, and no more."""
