"""Typed settings of a study, and how the command line changes them.

A study's settings are a frozen dataclass; its fields are the names that `--set` takes, its types
say how a value is read. Nothing here runs anything.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any, TypeVar

S = TypeVar("S")


class UsageError(Exception):
    """What was asked for cannot be done; the message says why and what would do."""


def near(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` where something is near, and the known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"{hint} Known: {', '.join(names)}."


def changed(settings: S, assignments: Iterable[str]) -> S:
    """The settings with `name=value` assignments applied.

    Raises:
      UsageError: no `=`, an unknown name (near misses are named), or a value of another type.
    """
    changes: dict[str, Any] = {}
    fields = {f.name: f for f in dataclasses.fields(settings)}  # type: ignore[arg-type]
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set takes name=value, got {assignment!r}")
        if name not in fields:
            raise UsageError(f"no setting is called {name!r}.{near(name, fields)}")
        changes[name] = _parse(name, text, getattr(settings, name))
    return dataclasses.replace(settings, **changes)  # type: ignore[type-var]


def _parse(name: str, text: str, example: Any) -> Any:
    if isinstance(example, tuple):
        return tuple(_parse(name, part, 0) for part in text.split("-") if part)
    kind = type(example)
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{name} must be of type {kind.__name__}, got {text!r}") from None


def described(settings: Any) -> str:
    """One `name=value` a line, with its comment where the field has one."""
    lines = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        text = "-".join(map(str, value)) if isinstance(value, tuple) else value
        lines.append(f"    {field.name}={text}".ljust(28) + field.metadata.get("help", ""))
    return "\n".join(lines)


def setting(default: Any, help: str) -> Any:
    """A dataclass field with a default and a word on what it is."""
    return dataclasses.field(default=default, metadata={"help": help})
