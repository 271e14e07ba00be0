"""The commands that measure the attacks: `python -m bench.arsenal --help`."""
