"""What `python -m experiments` says where the packages of the experiments are not installed."""

import sys
from typing import NoReturn

PROGRAM = "python -m experiments"
COMMAND = 'pip install -e ".[experiments]"'


def help_text(commands: str) -> str:
    """Return the text of `--help`.

    Args:
      commands: docstring of the command line.
    """
    return f"{commands}\n{PROGRAM} COMMAND --help describes a command."


def end_without(error: ModuleNotFoundError, commands: str) -> NoReturn:
    """End the program for lack of a package; `--help` prints the commands all the same.

    Args:
      error: of the import.
      commands: docstring of the command line.

    Raises:
      ModuleNotFoundError: the same error, if the missing module is one of this repository.
    """
    package = str(error.name).partition(".")[0]
    if package == "experiments":
        raise error
    advice = f"{package}, which is not installed: {COMMAND} in the checkout"
    if (sys.argv[1:] or ["--help"])[0] in ("-h", "--help"):
        print(f"{help_text(commands)}\nThe commands need {advice}.")
        sys.exit(0)
    sys.exit(f"error: {PROGRAM} needs {advice}")
