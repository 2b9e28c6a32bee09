"""What a compiled program launches on a GPU, counted in the text of its HLO.

An operation of the entry computation or of a loop's body is a launch, unless it only names or
groups values. A loop counts its body as often as it runs. A fused kernel reads the whole of an
operand, or the slices of it that it takes; a kernel that updates a slice in place writes that
slice.
"""

import math
import re
from typing import NamedTuple

_NAMING = "parameter constant tuple get-tuple-element bitcast after-all opt-barrier"
_FREE = {*_NAMING.split(), "partition-id", "replica-id"}
_SIZES = {"pred": 1, "bf16": 2, "token": 0, "opaque": 0}
_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_SLICES = ("dynamic-slice", "slice", "gather")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*)$")
_ARRAY = re.compile(r"\b([a-z]+[0-9]*[a-z0-9]*)\[([\d,]*)\]")


class Counts(NamedTuple):
    """Counts of one run of a program.

    Attributes:
      launches: operations that the device runs, each as often as its loop runs it.
      custom_calls: those among them that call a library or a kernel of Triton.
      bytes_moved: bytes that these operations read and write.
      collectives: those among them that devices run together.
      collective_bytes: bytes that each device gives to these.
    """

    launches: int = 0
    custom_calls: int = 0
    bytes_moved: int = 0
    collectives: int = 0
    collective_bytes: int = 0

    def times(self, n: int) -> "Counts":
        """The counts of `n` runs."""
        return Counts(*(n * count for count in self))

    def plus(self, other: "Counts") -> "Counts":
        """The counts of both."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


class _Instruction(NamedTuple):
    name: str
    kind: str
    size: int  # bytes of the result
    operands: tuple[str, ...]
    rest: str  # the text after the operands; the value of a constant
    root: bool


def count(hlo: str) -> Counts:
    """Count the launches and bytes of an optimized module, the text of `compiled.as_text()`.

    Args:
      hlo: the module.

    Returns:
      The counts of one run. A loop whose length XLA does not tell, as on a TPU, counts as often
      as its limit says, and once without a limit.
    """
    computations, entry = _parse(hlo)

    def of(name: str) -> Counts:
        total = Counts()
        for instruction in computations[name].values():
            total = total.plus(one(name, instruction))
        return total

    def one(name: str, i: _Instruction) -> Counts:
        called = _called(i.rest)
        if i.kind == "while":
            known = re.search(r'"known_trip_count":\{"n":"(\d+)"', i.rest)
            trips = int(known[1]) if known else _limit(computations[called["condition"]])
            return of(called["body"]).times(trips)  # the host counts the trips
        if i.kind.endswith("-done") or i.kind in _FREE:
            return Counts()
        if i.kind in ("call", "async-start"):
            return of(called.get("to_apply") or called["calls"])
        if i.kind == "conditional":
            branches = re.search(r"branch_computations=\{([^}]*)\}", i.rest)
            names = re.findall(r"%?([\w.-]+)", branches[1]) if branches else [*called.values()]
            return max((of(branch) for branch in names), default=Counts())
        moved = _moved(computations, name, i, called.get("calls"))
        together = int(i.kind.removesuffix("-start") in _COLLECTIVES)
        given = sum(computations[name][o].size for o in i.operands if o in computations[name])
        return Counts(1, int(i.kind == "custom-call"), moved, together, together * given)

    return of(entry)


def _limit(condition: dict[str, _Instruction]) -> int:
    """The number that the counter of a loop is compared with."""
    root = next(i for i in condition.values() if i.root)
    limits = [condition[o].rest for o in root.operands if o in condition]
    numbers = [int(text) for text in limits if text.isdecimal()]
    return numbers[0] if root.kind == "compare" and numbers else 1


def _parse(hlo: str) -> tuple[dict[str, dict[str, _Instruction]], str]:
    computations: dict[str, dict[str, _Instruction]] = {}
    entry, inside = "", None
    for line in hlo.splitlines():
        head = re.match(r"^(ENTRY )?%?([\w.-]+) (?:\(.*)?\{\s*$", line)
        if head and not line.startswith((" ", "HloModule")):
            inside = head[2]
            computations[inside] = {}
            entry = inside if head[1] else entry
        elif line.startswith("}"):
            inside = None
        elif inside is not None and (found := _INSTRUCTION.match(line)):
            computations[inside][found[1]] = _instruction(
                found[1], found[2], root=line.lstrip().startswith("ROOT ")
            )
    return computations, entry


def _instruction(name: str, text: str, *, root: bool) -> _Instruction:
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    shape, text = text[:end], text[end:].lstrip()
    kind, _, text = text.partition("(")
    close = _closing("(" + text, 0) - 1
    operands = tuple(re.findall(r"%([\w.-]+)", text[:close]))
    rest = text[: close - 1] if kind.strip() == "constant" else text[close:]
    return _Instruction(name, kind.strip(), _bytes(shape), operands, rest, root)


def _closing(text: str, start: int) -> int:
    """The index after the parenthesis that closes the one at `start`."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    return len(text)


def _bytes(shape: str) -> int:
    def size(dtype: str) -> int:
        return _SIZES.get(dtype) or max(1, int(re.sub(r"\D", "", dtype.split("e")[0]) or 0) // 8)

    arrays = _ARRAY.findall(re.sub(r"\{[^}]*\}", "", shape))
    return sum(size(d) * math.prod(int(n) for n in dims.split(",") if n) for d, dims in arrays)


def _called(rest: str) -> dict[str, str]:
    names = r"\b(body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.-]+)"
    return dict(re.findall(names, rest))


def _moved(
    computations: dict[str, dict[str, _Instruction]], name: str, i: _Instruction, fused: str | None
) -> int:
    """Bytes that one launch reads and writes."""
    sizes = {other.name: other.size for other in computations[name].values()}
    if fused is None:
        if i.kind in _SLICES:
            return 2 * i.size
        if i.kind == "dynamic-update-slice":
            return 2 * sizes.get(i.operands[1], 0)
        return i.size + sum(sizes.get(o, 0) for o in i.operands)
    inner = computations[fused]
    users: dict[str, list[tuple[_Instruction, int]]] = {}
    for other in inner.values():
        for position, operand in enumerate(other.operands):
            users.setdefault(operand, []).append((other, position))

    def through(at: str) -> list[tuple[_Instruction, int]]:
        found = []
        for user, position in users.get(at, []):
            found += through(user.name) if user.kind == "bitcast" else [(user, position)]
        return found

    read = 0
    for p in inner.values():
        if p.kind == "parameter":
            uses = [(user, at) for user, at in through(p.name) if (user.kind, at) != _IN_PLACE]
            if all(user.kind in _SLICES and at == 0 for user, at in uses):
                read += min(p.size, sum(user.size for user, _ in uses))
            else:
                read += p.size

    def written(at: str) -> int:
        found = inner[at]
        if found.kind == "tuple":
            return sum(map(written, found.operands))
        if found.kind == "bitcast":
            return written(found.operands[0])
        if found.kind == "dynamic-update-slice":
            return inner[found.operands[1]].size
        return found.size

    return read + sum(written(other.name) for other in inner.values() if other.root)


_IN_PLACE = ("dynamic-update-slice", 0)  # the operand of which only a slice is written
