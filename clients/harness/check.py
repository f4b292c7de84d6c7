"""Holds clients/cases.json to docs/openapi.yaml and to the program.

1. Every request of a case is a documented call, and its body is of its schema.
2. Every answer is one that the core may give, unless the case is about one that it may not.
3. Every operation that the clients have is called by a case.
4. `holdfast receipt verify` finds of every receipt what its case says.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator

from generate.model import OPERATIONS, at, document

from . import bodies


def wrong_cases(cases: dict[str, Any]) -> list[str]:
    openapi = document()
    called: set[str] = set()
    wrong: list[str] = []
    for case in cases["calls"]:
        for exchange in case["server"]:
            request = exchange.get("request", case["request"])
            operation = find(openapi, request)
            if operation is None:
                wrong.append(f"{case['name']}: no {request['method']} {request['path']} in docs/openapi.yaml")
                continue
            called.add(operation["operationId"])
            found = [*of_request(openapi, operation, request), *of_answer(openapi, operation, exchange)]
            wrong += [f"{case['name']}: {it}" for it in found]
    wrong += [f"no case calls {it}" for it in OPERATIONS if it not in called]
    return wrong + [f"{it} is called, but the generator does not name it" for it in called.difference(OPERATIONS)]


def find(openapi: dict[str, Any], request: dict[str, Any]) -> dict[str, Any] | None:
    path = urlsplit(request["path"]).path
    if path in openapi["paths"]:
        return openapi["paths"][path].get(request["method"].lower())
    for template, item in openapi["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and request["method"].lower() in item:
            return item[request["method"].lower()]
    return None


def of_request(openapi: dict[str, Any], operation: dict[str, Any], request: dict[str, Any]) -> Iterator[str]:
    if "requestBody" not in operation:
        if "body" in request:
            yield "a body where none is documented"
        return
    if "body" in request:
        content = operation["requestBody"]["content"]
        schema = content.get("application/json") or next(iter(content.values()))
        yield from invalid(openapi, schema["schema"], request["body"])


def of_answer(openapi: dict[str, Any], operation: dict[str, Any], exchange: dict[str, Any]) -> Iterator[str]:
    answer = exchange.get("answer", {})
    if "body" not in answer or exchange.get("undocumented"):
        return
    responses = operation["responses"]
    response = responses.get(str(answer["status"]), responses["default"])
    if "$ref" in response:
        response = at(openapi, response["$ref"])
    yield from invalid(openapi, next(iter(response["content"].values()))["schema"], answer["body"])


def invalid(openapi: dict[str, Any], schema: dict[str, Any], value: Any) -> Iterator[str]:
    whole = {**openapi, "allOf": [schema]}
    for error in Draft202012Validator(whole).iter_errors(value):
        yield f"{error.json_path}: {error.message}"


def wrong_receipts(cases: dict[str, Any], binary: Path) -> list[str]:
    wrong = []
    checked = 0
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases["receipts"]:
            arguments = keys_of(cases["receipt_keys"][case["keys"]], case, Path(scratch))
            if arguments is None:
                continue
            file = Path(scratch) / "receipt.json"
            file.write_text(case["text"], encoding="utf-8")
            command = [str(binary), "receipt", "verify", str(file), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            verdict = json.loads(done.stdout) if done.stdout else done.stderr
            checked += 1
            if verdict != case["expect"].get("verdict"):
                wrong.append(f"{case['name']}: holdfast receipt verify says {verdict}")
    if checked < 60:
        wrong.append(f"only {checked} receipts were held against holdfast receipt verify")
    return wrong


def keys_of(keys: dict[str, Any], case: dict[str, Any], scratch: Path) -> list[str] | None:
    """The flags that give these keys; None where the program takes them in no such way."""
    if "keys_unread" in case["expect"] or not keys:
        return None
    if "jwks" in keys and "hmac" in keys:
        config = scratch / "keys.toml"
        entries = ['[[auth.keys]]\nname = "nobody"\nrole = "shop"\nkey = "a-key-that-nobody-asks-with"\n']
        entries += ['[payments]\ngateway = "sandbox"\n']
        entries += [f"[[receipts.hmac_keys]]\nid = \"{name}\"\nkey = \"{key}\"\n" for name, key in keys["hmac"].items()]
        for it in keys["jwks"]["keys"]:
            entries.append(f"[[receipts.ed25519_keys]]\nid = \"{it['kid']}\"\npublic = \"{it['x']}\"\n")
        config.write_text("".join(entries), encoding="utf-8")
        return ["--config", str(config)]
    if "jwks" in keys:
        (scratch / "jwks.json").write_text(json.dumps(keys["jwks"]), encoding="utf-8")
        return ["--jwks", str(scratch / "jwks.json")]
    # The program takes one secret, for the name that the receipt has.
    (scratch / "secret").write_text(next(iter(keys["hmac"].values())), encoding="utf-8")
    return ["--key-file", str(scratch / "secret")]


def main(binary: Path) -> list[str]:
    cases = bodies.read()
    return wrong_cases(cases) + wrong_receipts(cases, binary)
