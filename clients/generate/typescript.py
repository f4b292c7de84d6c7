"""Writes the types for TypeScript: an interface for each object, a union for words."""

from __future__ import annotations

from .model import Kind, Type

SCALARS = {"string": "string", "integer": "number", "boolean": "boolean", "number": "number", "any": "unknown"}
HEAD = "// The objects of the HTTP API. Generated from docs/openapi.yaml by `./dev clients generate`.\n"


def files(types: list[Type]) -> dict[str, str]:
    out = [HEAD]
    for it in types:
        out.append(words(it) if it.words else record(it))
    return {"typescript/src/types.ts": "\n".join(out)}


def words(it: Type) -> str:
    return f"export type {it.name} =" + "".join(f'\n  | "{word}"' for word in it.words) + ";\n"


def comment(about: str, indent: str) -> str:
    about = " ".join(about.split())
    return f"{indent}/** {about} */\n" if about else ""


def record(it: Type) -> str:
    lines = [f"{comment(it.about, '')}export interface {it.name} {{"]
    for field in it.fields:
        mark = "" if field.required else "?"
        lines.append(f"{comment(field.about, '  ')}  {field.name}{mark}: {annotation(field.kind)};")
    return "\n".join([*lines, "}", ""])


def annotation(kind: Kind) -> str:
    if kind.name == "list":
        inner = annotation(kind.of)
        plain = f"({inner})[]" if "|" in inner else f"{inner}[]"
    elif kind.name == "map":
        plain = f"{{ [name: string]: {annotation(kind.of)} }}"
    elif kind.name == "words":
        plain = " | ".join(f'"{it}"' for it in kind.of)
    else:
        plain = kind.of if kind.name == "ref" else SCALARS[kind.name]
    return f"{plain} | null" if kind.nullable else plain
