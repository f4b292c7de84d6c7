"""Writes the types for Java: a record for each object, an enum for words that have a name.

Words without a name are text. Each enum has `UNKNOWN` for the words of a newer core.
"""

from __future__ import annotations

from .model import REQUESTS, Field, Kind, Type

PACKAGE = "dev.holdfast.client.model"
FOLDER = "java/src/main/java/dev/holdfast/client/model"
SCALARS = {"string": "String", "integer": "Long", "boolean": "Boolean", "number": "Double", "any": "JsonNode"}
BARE = {"Long": "long", "Boolean": "boolean", "Double": "double"}
NOTE = "Generated from docs/openapi.yaml by {@code ./dev clients generate}."


def files(types: list[Type]) -> dict[str, str]:
    # A merge patch distinguishes null from absent, which a record cannot: callers give a map.
    types = [it for it in types if not it.name.endswith("Patch")]
    return {f"{FOLDER}/{it.name}.java": words(it) if it.words else record(it) for it in types}


def words(it: Type) -> str:
    names = ",\n".join(f'    {word.upper()}("{word}")' for word in it.words)
    return f"""package {PACKAGE};

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;

/** {NOTE} */
public enum {it.name} {{
{names},
    /** A word that this version of the client does not know. */
    UNKNOWN("");

    private final String word;

    {it.name}(String word) {{
        this.word = word;
    }}

    /** The word as it stands in JSON. */
    @JsonValue
    public String word() {{
        return word;
    }}

    @JsonCreator
    public static {it.name} of(String word) {{
        for ({it.name} known : values()) {{
            if (known.word.equals(word)) {{
                return known;
            }}
        }}
        return UNKNOWN;
    }}
}}
"""


def record(it: Type) -> str:
    parts = [component(field) for field in it.fields]
    body = ",\n".join(parts)
    methods = making(it) if it.name in REQUESTS else ""
    imports = sorted(
        {f"import {path};" for word, path in IMPORTS.items() if word in body + methods}
    )
    about = " ".join(it.about.split()).replace("*/", "")
    about = f"{about.removesuffix('.')}. {NOTE}" if about else NOTE
    head = "\n".join(imports)
    return f"package {PACKAGE};\n\n{head}\n\n/** {about} */\npublic record {it.name}(\n{body}) {{\n{methods}}}\n"


IMPORTS = {
    "@JsonProperty": "com.fasterxml.jackson.annotation.JsonProperty",
    "@JsonInclude": "com.fasterxml.jackson.annotation.JsonInclude",
    "JsonNode": "com.fasterxml.jackson.databind.JsonNode",
    "List<": "java.util.List",
    "Map<": "java.util.Map",
}


def component(field: Field) -> str:
    about = " ".join(field.about.split())
    doc = f"    /** {about} */\n" if about else ""
    absent = "" if field.required else "@JsonInclude(JsonInclude.Include.NON_NULL) "
    return f'{doc}    {absent}@JsonProperty("{field.name}") {annotation(field)} {camel(field.name)}'


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def annotation(field: Field) -> str:
    boxed = box(field.kind)
    return BARE.get(boxed, boxed) if field.required and not field.kind.nullable else boxed


def box(kind: Kind) -> str:
    if kind.name == "list":
        return f"List<{box(kind.of)}>"
    if kind.name == "map":
        return f"Map<String, {box(kind.of)}>"
    if kind.name == "ref":
        return str(kind.of)
    return SCALARS["string" if kind.name == "words" else kind.name]


def making(it: Type) -> str:
    """A way to make a request from what it must have, and to add the rest."""
    needed = ", ".join(f"{annotation(field)} {camel(field.name)}" for field in it.fields if field.required)
    values = ", ".join(camel(field.name) if field.required else "null" for field in it.fields)
    out = [
        "    /** With the fields that are required; null in place of one means none. */",
        f"    public static {it.name} of({needed}) {{",
        f"        return new {it.name}({values});",
        "    }",
    ]
    for field in it.fields:
        if field.required:
            continue
        name = camel(field.name)
        all_fields = ", ".join(camel(other.name) for other in it.fields)
        out += [
            "",
            f"    public {it.name} with{name[0].upper()}{name[1:]}({annotation(field)} {name}) {{",
            f"        return new {it.name}({all_fields});",
            "    }",
        ]
    return "\n".join(out) + "\n"
