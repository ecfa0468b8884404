"""The command line: one module per room of commands, data on stdout, everything else on stderr."""
