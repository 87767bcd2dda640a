"""YAML reading that keeps text settings as written, whatever type YAML would give them.

YAML 1.1 reads ``NO`` as false, ``012`` as ten, ``12:30`` as 750 and ``2026_11_29`` as a number.
Still, a target may be named NO and a study 012.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from yaml.constructor import ConstructorError

from hpo_utils.base.errors import ConfigError

TAG = "tag:yaml.org,2002:"
NULLS = ("", "~", "null", "Null", "NULL")
RESOLVED = ("null", "bool", "int", "float", "timestamp")  # types YAML gives to unquoted words


@dataclass(frozen=True)
class Written:
    """An unquoted word that YAML reads as something other than text."""

    text: str
    tag: str

    @property
    def value(self) -> Any:
        """YAML's value of the word; the text itself if invalid, such as the date 2026-13-45."""
        loader = yaml.SafeLoader("")
        try:
            construct = yaml.SafeLoader.yaml_constructors[self.tag]
            return construct(loader, yaml.ScalarNode(self.tag, self.text))
        except ValueError:
            return self.text
        finally:
            loader.dispose()


class UniqueLoader(yaml.SafeLoader):
    """Safe loader that refuses a key written twice, of which YAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
            place = f"from line {node.start_mark.line + 1} on"
            raise ConstructorError(problem=f"{twice} stands twice {place}: put both into one")
        return super().construct_mapping(node, deep)


class _Loader(UniqueLoader):
    """Safe loader that returns such words as ``Written`` instead of converting them."""


def _keep(_: yaml.SafeLoader, node: yaml.ScalarNode) -> Written:
    return Written(str(node.value), node.tag)


for _tag in RESOLVED:
    _Loader.add_constructor(TAG + _tag, _keep)


def read_written(text: str) -> Any:
    """Return the content of YAML; words that YAML would not read as text are ``Written``.

    Raises
    ------
    yaml.YAMLError
        If the text is not YAML or names a Python object.
    """
    return yaml.load(text, Loader=_Loader)


def as_meant(content: Any, schema: Any, key: str = "") -> Any:
    """Resolve each setting in ``content``: text as written, otherwise YAML's value.

    Parameters
    ----------
    content
        Result of ``read_written``, or plain values.
    schema
        A dataclass with a field for each setting, or the type of one setting; ``Any`` if unknown.
    key
        Dotted name of the setting, for messages.

    Raises
    ------
    ConfigError
        If a text setting has no value, or a value that is not text.
    """
    inner = _without_none(schema)
    if is_dataclass(inner) and isinstance(inner, type) and isinstance(content, Mapping):
        hints = get_type_hints(inner)
        prefix = f"{key}." if key else ""
        return {
            name: as_meant(value, hints.get(name, Any), f"{prefix}{name}")
            for name, value in ((_plain(name), value) for name, value in content.items())
        }
    if get_origin(inner) is list and not _is_left_open(content):
        each = get_args(inner)[0]
        return [as_meant(item, each, f"an entry of {key}") for item in _listed(content, each, key)]
    if get_origin(inner) is dict and not _is_left_open(content):
        if not isinstance(content, Mapping):
            raise ConfigError(f"{key} must hold names with a value each, got {_plain(content)!r}")
        each = get_args(inner)[1]
        return {
            str(_plain(name)): as_meant(value, each, f"{key}.{_plain(name)}")
            for name, value in content.items()
        }
    if inner is str:
        return _text(content, key, optional=inner is not schema)
    return _plain(content)


def is_text(schema: type, key: str) -> bool:
    """Return whether the dotted ``key`` is a text setting of the dataclass ``schema``."""
    hint: Any = schema
    for name in key.split("."):
        hint = get_type_hints(hint).get(name) if is_dataclass(hint) else None
    return _without_none(hint) is str


def null_or_text(value: str) -> str | None:
    """Return the value of a text setting without surrounding quotes; None for null."""
    if value in NULLS:
        return None
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _is_left_open(content: Any) -> bool:
    """Return whether a value is null, or refers to another setting."""
    return _is_null(content) or (isinstance(content, str) and "${" in content)


def _is_null(content: Any) -> bool:
    is_written = isinstance(content, Written) and content.tag == f"{TAG}null"
    return content is None or is_written


def _listed(content: Any, each: Any, key: str) -> list[Any]:
    """Return the list that is meant, also by a single entry of it."""
    if isinstance(content, Mapping):
        raise ConfigError(f"{key} must be a list, got {_plain(content)!r}: write [a, b]")
    if not isinstance(content, list | tuple):
        return [content]
    of_lists = any(isinstance(entry, list | tuple) for entry in content)
    return [content] if get_origin(each) is list and not of_lists else list(content)


def _text(content: Any, key: str, optional: bool) -> Any:
    if _is_null(content):
        word = "null" if content is None else content.text or "null"
        if optional:
            return None
        raise ConfigError(f"{key} must be text, got {word}: if it is called so, write '{word}'")
    if isinstance(content, Written):
        return content.text
    if isinstance(content, int) and not isinstance(content, bool):
        return str(content)
    if isinstance(content, bool | float):
        raise ConfigError(f"{key} must be text, got {content!r}: write '{content}'")
    if isinstance(content, list | tuple | Mapping):
        raise ConfigError(f"{key} must be text, got {_plain(content)!r}")
    return _plain(content)


def _plain(content: Any) -> Any:
    """Return ``content`` with every ``Written`` word replaced by YAML's value."""
    if isinstance(content, Written):
        return content.value
    if isinstance(content, Mapping):
        return {_plain(name): _plain(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_plain(item) for item in content]
    return content


def _without_none(schema: Any) -> Any:
    """Return the type of an optional setting without None."""
    if isinstance(schema, UnionType):
        others = [each for each in get_args(schema) if each is not type(None)]
        return others[0] if len(others) == 1 else schema
    return schema
