"""Writes the generated types of all clients; with `--check`, says which of them are not current."""

from __future__ import annotations

import sys
from pathlib import Path

from . import java, python, typescript
from .model import ROOT, Reader

CLIENTS = ROOT / "clients"
WRITERS = [python, typescript, java]


def main() -> int:
    types = Reader().read()
    wanted = {CLIENTS / name: text for writer in WRITERS for name, text in writer.files(types).items()}
    there = set((CLIENTS / java.FOLDER).glob("*.java"))
    if "--check" not in sys.argv[1:]:
        for path in there - set(wanted):
            path.unlink()
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in wanted.items() if not is_current(path, text)]
    stale += there - set(wanted)
    for path in sorted(stale):
        print(f"{path.relative_to(ROOT)} is not what docs/openapi.yaml says: run ./dev clients generate")
    return 1 if stale else 0


def is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


sys.exit(main())
