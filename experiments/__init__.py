"""The runs behind every number: one folder, one claim; `python -m experiments --help`."""
