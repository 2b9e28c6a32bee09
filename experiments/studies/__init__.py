"""One folder a study; `study.py` opens with claim, command, result and time."""
