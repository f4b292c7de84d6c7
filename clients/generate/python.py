"""Writes the types for Python: a `TypedDict` for each object, a `Literal` for words."""

from __future__ import annotations

from textwrap import wrap

from .model import Kind, Type

SCALARS = {"string": "str", "integer": "int", "boolean": "bool", "number": "float", "any": "Any"}
HEAD = '''"""The objects of the HTTP API. Generated from docs/openapi.yaml by `./dev clients generate`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict
'''


def files(types: list[Type]) -> dict[str, str]:
    out = [HEAD]
    for it in sorted(types, key=lambda it: not it.words):
        out.append(words(it) if it.words else record(it))
    return {"python/src/holdfast_client/types.py": "\n".join(out)}


def words(it: Type) -> str:
    listed = "".join(f'    "{word}",\n' for word in it.words)
    return f"\n{it.name} = Literal[\n{listed}]\n"


def record(it: Type) -> str:
    lines = ["", "", f"class {it.name}(TypedDict):"]
    about = " ".join(it.about.split())
    if about:
        lines += [f'    """{about}."""', ""] if len(about) < 104 else ['    """', *indented(about), '    """', ""]
    for field in it.fields:
        kind = annotation(field.kind)
        lines += [f"    # {line}" for line in wrap(" ".join(field.about.split()), 112)]
        lines.append(f"    {field.name}: {kind if field.required else f'NotRequired[{kind}]'}")
    return "\n".join(lines)


def indented(text: str) -> list[str]:
    return [f"    {line}" for line in wrap(text, 112)]


def annotation(kind: Kind) -> str:
    if kind.name == "list":
        plain = f"list[{annotation(kind.of)}]"
    elif kind.name == "map":
        plain = f"dict[str, {annotation(kind.of)}]"
    elif kind.name == "words":
        plain = "Literal[" + ", ".join(f'"{it}"' for it in kind.of) + "]"
    else:
        plain = kind.of if kind.name == "ref" else SCALARS[kind.name]
    return f"{plain} | None" if kind.nullable else plain
