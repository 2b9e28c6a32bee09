"""Checks of the annotated arrays at run time: the import hook of jaxtyping with beartype.

`pytest --typed` checks the arrays of every call of a public function, arguments and results. What
an annotation refuses, the library must refuse too, with an error of its own: where the library
takes it, the annotation is wrong, and the call fails with a `TypeCheckError`.
"""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import jaxtyping


def install() -> None:
    """Check the public functions of `stbp_jax`, which must not be imported yet."""
    assert "stbp_jax" not in sys.modules, "the hook must come before the import"
    check = jaxtyping.jaxtyped
    # Functions inside of functions are left out: they are made, and would be decorated, at every
    # call of a factory.
    jaxtyping.jaxtyped = lambda *, typechecker: functools.partial(  # type: ignore[assignment]
        _checked, functools.partial(check, typechecker=typechecker)
    )
    jaxtyping.install_import_hook("stbp_jax", "beartype.beartype")


def _checked(check: Callable[..., Any], function: Any) -> Any:
    """The function with its arrays checked, if it is public and has any."""
    names = getattr(function, "__qualname__", "_").split(".")
    public = not any(name.startswith(("_", "<")) and name != "__call__" for name in names)
    if not public or not isinstance(function, types.FunctionType):
        return function
    signature = inspect.signature(function)
    parameters = [
        p.replace(annotation=_if_arrays(p.annotation)) for p in signature.parameters.values()
    ]
    result = _if_arrays(signature.return_annotation)
    if all(one is Any for one in (result, *(p.annotation for p in parameters))):
        return function

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    reduced = signature.replace(parameters=parameters, return_annotation=result)
    plain.__signature__ = reduced  # type: ignore[attr-defined]
    return _with_own_errors(function, check(plain), jaxtyping.TypeCheckError)


def _if_arrays(annotation: Any) -> Any:
    """The annotation, if arrays of jaxtyping are in it, else Any."""

    def has_arrays(annotation: Any) -> bool:
        if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
            return True
        return any(map(has_arrays, typing.get_args(annotation)))

    return annotation if has_arrays(annotation) else Any


def _with_own_errors(
    function: types.FunctionType, checked: Callable[..., Any], refused: type[Exception]
) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return checked(*args, **kwargs)
        except refused:
            function(*args, **kwargs)
            raise

    # In the globals of its module, where doctest looks for functions.
    here = types.FunctionType(
        call.__code__, function.__globals__, function.__name__, None, call.__closure__
    )
    return functools.update_wrapper(here, function)
