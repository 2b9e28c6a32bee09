"""The experiments that reproduce the paper; `python -m experiments --help` lists the commands."""
