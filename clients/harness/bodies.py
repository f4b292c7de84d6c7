"""Reads clients/cases.json, and fills in the bodies that its cases name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "clients/cases.json"


def read() -> dict[str, Any]:
    cases = json.loads(CASES.read_text(encoding="utf-8"))
    for case in cases["calls"]:
        for exchange in case["server"]:
            if "body" in exchange.get("answer", {}):
                exchange["answer"]["body"] = filled(exchange["answer"]["body"], cases["bodies"])
    return cases


def filled(value: Any, bodies: dict[str, Any]) -> Any:
    """`{"use": NAME, "with": {…}, "without": […]}` is the body of that name, changed."""
    if isinstance(value, list):
        return [filled(it, bodies) for it in value]
    if not isinstance(value, dict):
        return value
    if "use" in value:
        left_out = value.get("without", [])
        return {k: v for k, v in (bodies[value["use"]] | value.get("with", {})).items() if k not in left_out}
    return {name: filled(it, bodies) for name, it in value.items()}
