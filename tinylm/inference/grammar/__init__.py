"""Output that keeps to a grammar: a regular expression or a JSON schema, compiled to masks over the vocabulary."""

from .automaton import Automaton
from .constraint import Constraint, TokenTable
from .json_schema import parse_json_schema
from .regular import parse_regex

__all__ = ["Automaton", "Constraint", "TokenTable", "parse_json_schema", "parse_regex"]
