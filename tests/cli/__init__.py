"""The command line, run in this process except where signals and terminals matter."""
