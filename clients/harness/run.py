"""Runs everything that holds the clients: python -m harness.run [python|typescript|java …].

1. The generated types are those of docs/openapi.yaml; the cases are documented, and true of the program.
2. Each client is packed as its users get it, and runs the cases against a scripted server and a demo.
3. The first call of each README works as printed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from . import check
from .bodies import CASES, ROOT

CLIENTS = ROOT / "clients"
TARGET = ROOT / "target/clients"
PYTHON = TARGET / "python/bin/python"
READY_S_MAX = 60
LONGEST_S = 120
CONFIG = """
[payments]
answer_within_ms = 200
[review]
amount_over = { EUR = 3000 }
"""


def run(*command: object, cwd: Path = CLIENTS, env: dict[str, str] | None = None) -> None:
    """Runs it to a good end."""
    words = [str(it) for it in command]
    subprocess.run(words, cwd=cwd, env={**os.environ, **(env or {})}, check=True, timeout=LONGEST_S)


def sells(*command: object, cwd: Path = CLIENTS, env: dict[str, str] | None = None) -> None:
    """Runs the example of a README, which buys something."""
    words = [str(it) for it in command]
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **(env or {})}, check=True, timeout=LONGEST_S, capture_output=True, text=True
    )
    if not re.fullmatch(r"paid: p_[0-9a-f]{32} receipt: genuine\n", done.stdout):
        print("the example of the README printed", done.stdout)
        raise subprocess.CalledProcessError(1, words)


def python(addresses: list[str]) -> None:
    run(PYTHON, "-m", "mypy", "--config-file", "pyproject.toml", "src", cwd=CLIENTS / "python")
    with packed() as scratch:
        wheel(scratch)
        paths = {"PYTHONPATH": str(scratch / "site")}
        run(PYTHON, CLIENTS / "python/tests/cases.py", CASES, *addresses, env=paths)
        example = readme("python", "python", addresses[1])
        (scratch / "example.py").write_text(example, encoding="utf-8")
        mypy = [PYTHON, "-m", "mypy", "--strict", "--follow-imports", "silent"]
        run(*mypy, scratch / "example.py", env={"MYPYPATH": str(scratch / "site")})
        sells(PYTHON, scratch / "example.py", env=paths)


def wheel(scratch: Path) -> None:
    """The package as pip builds and installs it."""
    source = scratch / "source"
    # setuptools leaves its files beside what it builds.
    shutil.copytree(CLIENTS / "python", source)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", scratch, source)
    (built,) = scratch.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", scratch / "site", built)
    assert (scratch / "site/holdfast_client/py.typed").exists(), "the package says that it has types"


@contextmanager
def packed() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def readme(client: str, language: str, address: str) -> str:
    """The first example of a README, asked of this demo."""
    text = (CLIENTS / client / "README.md").read_text(encoding="utf-8")
    example = text.split(f"```{language}\n", 1)[1].split("```", 1)[0]
    assert "http://127.0.0.1:8080" in example, "the example names the demo's address"
    return example.replace("http://127.0.0.1:8080", address)


@contextmanager
def scripted_server() -> Iterator[str]:
    command = [str(PYTHON), "-m", "harness.scripted"]
    with subprocess.Popen(command, cwd=CLIENTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.stdin.close()


@contextmanager
def demo(binary: Path) -> Iterator[str]:
    """A demo whose gateway is waited for briefly, and that reviews large orders in EUR."""
    with tempfile.TemporaryDirectory() as scratch:
        config, log = Path(scratch) / "demo.toml", Path(scratch) / "log"
        config.write_text(CONFIG, encoding="utf-8")
        flags = ["--demo", "--config", config, "--data-dir", Path(scratch) / "data", "--listen", "127.0.0.1:0"]
        with log.open("wb") as err:
            server = subprocess.Popen([binary, "serve", *flags], stderr=err)
        try:
            yield ready(server, log)
        finally:
            server.terminate()
            server.wait(timeout=LONGEST_S)


def ready(server: subprocess.Popen[bytes], log: Path) -> str:
    """Waits until the server takes requests; its address."""
    ends_at = time.monotonic() + READY_S_MAX
    while time.monotonic() < ends_at and server.poll() is None:
        lines = [json.loads(it) for it in log.read_text(encoding="utf-8").splitlines() if it.endswith("}")]
        for line in lines:
            address = line.get("address") or line.get("fields", {}).get("address")
            if address and "listening" in json.dumps(line):
                urllib.request.urlopen(f"http://{address}/readyz").read()
                return f"http://{address}"
        time.sleep(0.05)
    raise RuntimeError(f"the demo did not start:\n{log.read_text(encoding='utf-8')}")


def typescript(addresses: list[str]) -> None:
    tools = TARGET / "typescript"
    tsc = tools / "node_modules/.bin/tsc"
    # Below the folder of the tools, so that what is compiled here finds their types.
    with tempfile.TemporaryDirectory(dir=tools) as folder:
        scratch = Path(folder)
        packed_by_npm(scratch, tsc)
        for file in (CLIENTS / "typescript/tests").iterdir():
            shutil.copy(file, scratch)
        example = readme("typescript", "ts", addresses[1])
        (scratch / "example.ts").write_text(example, encoding="utf-8")
        (scratch / "package.json").write_text('{"type": "module"}', encoding="utf-8")
        run(tsc, "--project", scratch, cwd=scratch)
        run("node", scratch / "built/cases.js", CASES, *addresses, cwd=scratch)
        sells("node", scratch / "built/example.js", cwd=scratch)


def packed_by_npm(scratch: Path, tsc: Path) -> None:
    """The package as npm packs it, where the tests find it by its name."""
    source = scratch / "source"
    shutil.copytree(CLIENTS / "typescript", source, ignore=shutil.ignore_patterns("tests", "node_modules", "dist"))
    run(tsc, "--project", source, cwd=source)
    run("npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", scratch, cwd=source)
    (built,) = scratch.glob("*.tgz")
    installed = scratch / "node_modules"
    installed.mkdir()
    shutil.unpack_archive(built, installed)
    (installed / "package").rename(installed / "holdfast-client")


def java(addresses: list[str]) -> None:
    source = CLIENTS / "java/src"
    jackson = [f"/usr/share/java/jackson-{part}.jar" for part in ("databind", "core", "annotations")]
    with packed() as scratch:
        jar = scratch / "holdfast-client.jar"
        # Warnings are errors; no annotation is processed.
        javac = ["javac", "--release", "17", "-Xlint:all,-path", "-Werror", "-proc:none", "-d"]
        path = ":".join([*jackson, str(jar), str(scratch / "tests")])
        run(*javac, scratch / "classes", "-cp", path, *sorted((source / "main").rglob("*.java")))
        run("jar", "--create", "--file", jar, "-C", scratch / "classes", ".")
        example = scratch / "Example.java"
        example.write_text(readme("java", "java", addresses[1]), encoding="utf-8")
        run(*javac, scratch / "tests", "-cp", path, *sorted((source / "test").rglob("*.java")), example)
        # A start costs more than what it runs.
        start = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", path]
        run(*start, "dev.holdfast.client.Cases", CASES, *addresses)
        sells(*start, "Example")


RUNNERS = {"python": python, "typescript": typescript, "java": java}


def main() -> int:
    binary = Path(os.environ.get("CLIENTS_BINARY", ROOT / "target/debug/holdfast"))
    run(PYTHON, "-m", "generate", "--check")
    wrong = check.main(binary)
    for it in wrong:
        print(it)
    failed = ["the cases"] if wrong else []
    with scripted_server() as scripted, demo(binary) as demo_url:
        for name in sys.argv[1:] or RUNNERS:
            started = time.monotonic()
            try:
                RUNNERS[name]([scripted, demo_url])
            except subprocess.CalledProcessError:
                failed.append(name)
            print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)
    if failed:
        print("failed:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
