"""The Jinja that chat templates run in: transformers' environment, with bounds on what a template may cost.

A template comes with a model from the net, so that it is a program of a stranger's. Jinja's immutable sandbox keeps it
from the interpreter; the bounds here keep it from taking all time or memory: every turn of a loop and every call of a
macro is counted, and no operation may make a large value. Imported when the first template is compiled.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from jinja2 import Template, nodes, pass_eval_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

__all__ = ["Run", "compile_template", "running"]

# Of one rendering: turns of loops and calls, seconds, the size of any value in characters, and what a value written as
# text holds in items. A conversation of a thousand messages takes some thousand turns, and a tenth of a second.
MOST_TURNS, MOST_SECONDS, LARGEST, MOST_ITEMS = 300_000, 5.0, 1 << 24, 1 << 20
# The width of a field in a format that may ask for any memory: many digits, or taken from a value.
WIDE = re.compile(r"\d{6}|%[-+ #0]*\*|\{[^{}]+\{")
LONGEST_NUMBER = 256  # binary digits of a product
# Filters that take lists as they are, and make no text of them.
STRUCTURAL = {"length", "count", "list", "first", "last", "map", "select", "selectattr", "reject", "rejectattr",
              "default", "d", "items", "dictsort", "sort", "reverse", "groupby", "unique", "min", "max", "sum", "attr",
              "batch", "slice"}  # fmt: skip


class Run:
    """One rendering: what it has cost so far, what it has written, and the spans of `generation` blocks in that."""

    def __init__(self) -> None:
        self.turns, self.deadline = 0, time.monotonic() + MOST_SECONDS
        self.written: list[str] = []
        self.spans: list[tuple[int, int]] = []

    def turn(self) -> bool:
        """Count a turn. Raises SecurityError for one too many; else True."""
        self.turns += 1
        if self.turns > MOST_TURNS or time.monotonic() > self.deadline:
            raise SecurityError(f"it takes more than {MOST_TURNS:,} turns of its loops, or {MOST_SECONDS:g} seconds")
        return True


_RUN: ContextVar[Run] = ContextVar("run")


@contextmanager
def running() -> Iterator[Run]:
    """A block in which a template may run."""
    token = _RUN.set(Run())
    try:
        yield _RUN.get()
    finally:
        _RUN.reset(token)


def compile_template(source: str) -> Template:
    """A template, to be rendered within `running`. Raises jinja2's TemplateError for what is none."""
    return _Environment().from_string(source)


class _GenerationBlocks(Extension):
    """{% generation %} ... {% endgeneration %} around what the assistant writes: the place of each is noted."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_note"), [], [], body).set_lineno(line)

    @pass_eval_context
    def _note(self, context: nodes.EvalContext, caller: Callable[[], str]) -> str:
        text, run = caller(), _RUN.get()
        start = sum(map(len, run.written))
        run.spans.append((start, start + len(text)))
        return text


class _Environment(ImmutableSandboxedEnvironment):
    """What transformers gives a template: its globals, filters and extensions. Values are checked for their size."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self) -> None:
        extensions = [_GenerationBlocks, loopcontrols]
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions, finalize=_checked)
        self.filters["tojson"] = _to_json
        self.filters = {name: _bounded(name, function) for name, function in self.filters.items()}
        del self.globals["lipsum"]
        self.globals |= {
            "raise_exception": _raise_exception,
            "strftime_now": lambda format: datetime.datetime.now().strftime(format),
            "dict": lambda *pairs, **fields: dict(*pairs, **fields),
            "namespace": _PublicNamespace,
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return _Counting().visit(super()._parse(source, name, filename))

    def turn(self) -> bool:
        return _RUN.get().turn()

    def concatenate(self, *parts: Any) -> str:
        _check_text(parts)
        texts = [str(part) for part in parts]
        _check_size(sum(map(len, texts)))
        return "".join(texts)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = _size(left), _size(right)
        digits = sum(number.bit_length() for number in (left, right) if isinstance(number, int))
        if operator == "**" or (operator == "*" and digits > LONGEST_NUMBER):
            raise SecurityError("powers and products of large numbers are not supported")
        if operator == "+" and None not in sizes:
            _check_size(sum(sizes))  # type: ignore[arg-type]
        elif operator == "*":
            _check_product([left, right])
        elif operator == "%" and isinstance(left, str):
            _check_format(left, right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        write = super().wrap_str_format(value)
        if write is None:
            return None

        def checked(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__, [*args, *kwargs.values()])
            return write(*args, **kwargs)

        return checked

    def call(__self, __context: Any, __function: Any, *args: Any, **kwargs: Any) -> Any:
        owner, values = getattr(__function, "__self__", None), [*args, *kwargs.values()]
        if isinstance(owner, str):
            _check_product([owner, *values])
        return super().call(__context, __function, *args, **kwargs)


class _Counting(NodeTransformer):
    """Puts a count into everything that may run for long, and a check into what joins texts."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        if node.test is not None:
            node.test = nodes.And(_method("turn", node), node.test, lineno=node.lineno)
        return self._counted(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        self.generic_visit(node)
        return self._counted(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _method("concatenate", node, node.nodes)

    def _counted(self, node: Any) -> nodes.Node:
        node.body.insert(0, nodes.ExprStmt(_method("turn", node), lineno=node.lineno))
        return node


def _method(name: str, at: nodes.Node, arguments: list[nodes.Expr] | None = None) -> nodes.Call:
    """The call of a method of the environment."""
    call = nodes.Call(nodes.EnvironmentAttribute(name), arguments or [], [], None, None, environment=at.environment)
    call.set_lineno(at.lineno)
    return call


class _PublicNamespace(Namespace):
    """A namespace without names of Python's own."""

    def __init__(*args: Any, **fields: Any) -> None:
        self, *pairs = args
        attributes = dict(*pairs, **fields)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _checked(value: Any) -> Any:
    """A value that is written out."""
    _check_text(value)
    return value


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace takes no name like {name!r}")


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """json.dumps, which escapes nothing for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose values may not be large."""

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        _RUN.get().turn()
        values = [*args, *kwargs.values()]
        if name not in STRUCTURAL:
            _check_text(values)
        _check_product(values)
        return function(*args, **kwargs)

    return checked


def _size(value: Any) -> int | None:
    """How long a text or a list is; None for what has no length."""
    return len(value) if isinstance(value, (str, list, tuple, dict, range)) else None


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise SecurityError(f"a value is larger than {LARGEST:,}")


def _check_product(values: list[Any]) -> None:
    """No function makes more of its arguments than the product of their sizes, `replace` and `center` for two."""
    if any(_size(value) is not None for value in values):
        numbers = [abs(int(value)) for value in values if isinstance(value, (int, float)) and math.isfinite(value)]
        _check_size(math.prod(max(1, size) for size in [*map(_size, values), *numbers] if size is not None))


def _check_text(value: Any) -> None:
    """What a list is as a text: where it holds another one twice, much more than it is in memory."""
    waiting, size, items = [value], 0, 0
    while waiting:
        item, items = waiting.pop(), items + 1
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, (list, tuple)):
            waiting += item
        size += len(item) if isinstance(item, str) else 1
        _check_size(size)
        if items + len(waiting) > MOST_ITEMS:
            raise SecurityError(f"a value holds more than {MOST_ITEMS:,} others")


def _check_format(format: str, values: Any) -> None:
    _check_text(values)
    if WIDE.search(format.replace("{{", "")):  # two braces stand for one
        raise SecurityError("a format asks for a field of that width")
