"""Checks what a user sets: every option known, of the right type, in range, or an error that names it."""

import collections.abc
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from graphs.messages import unknown

WORDS = {int: "an integer", float: "a finite number", bool: "true or false", str: "text", type(None): "none"}


def check_options(
    owner: str, function: Callable[..., Any], options: Mapping[str, Any], known: Iterable[str] | None = None
) -> None:
    """Refuse options that a function does not take, and values that contradict its annotations.

    Args:
        owner: whose options they are, for the message.
        function: a function, or a class for the arguments of its constructor.
        options: the keyword arguments it is about to get.
        known: the arguments that are options; None for all.

    Raises:
        ValueError: naming the option, what it got and what it takes.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    known = list(parameters if known is None else known)
    for name, value in options.items():
        if name not in known:
            raise ValueError(unknown(f"option of {owner}", name, known, show_all=True))
        if not _fits(value, hint := parameters[name].annotation):
            raise ValueError(f"{owner}: {name} must be {_describe(hint)}, got {value!r}")


def check_counts(**values: Any) -> None:
    """Refuse values that are no positive integers.

    Raises:
        ValueError: naming the first that is none.
    """
    for name, value in values.items():
        if not _fits(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if origin is collections.abc.Sequence:
        return isinstance(value, list | tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    return hint is inspect.Parameter.empty or not isinstance(hint, type) or isinstance(value, hint)


def _describe(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is collections.abc.Sequence:
        return f"a list, each item {_describe(arguments[0])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(argument) for argument in arguments)
    if origin is typing.Literal:
        return " or ".join(repr(argument) for argument in arguments)
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))
