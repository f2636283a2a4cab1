#!/usr/bin/env python3
# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Compares the imports of each source file with the dependencies that Package.swift declares for its target."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PRODUCTS = {"yams": "Yams", "arguments": "ArgumentParser", "deque": "DequeModule"}
TOOLCHAIN = {"Glibc", "Swift", "Synchronization", "Foundation", "Testing", "_Concurrency"}


def declared():
    text = (ROOT / "Package.swift").read_text()
    graph = {}
    for kind, name, body in re.findall(r'(module|tests)\(\s*"(\w+)",\s*\[(.*?)\]', text, re.S):
        key = name if kind == "module" else f"{name}Tests"
        graph[key] = {PRODUCTS.get(d, d) for d in re.findall(r"\w+", body.replace('"', ""))}
    for name, body in re.findall(r'(?:executableTarget|\.target)\(\s*name: "(\w+)",\s*dependencies: \[(.*?)\]', text, re.S):
        graph[name] = {PRODUCTS.get(d, d) for d in re.findall(r"\w+", body.replace('"', ""))}
    return graph


def main():
    graph, complaints = declared(), []
    for top in ("Sources", "Tests"):
        for file in sorted((ROOT / top).rglob("*.swift")):
            target = file.relative_to(ROOT / top).parts[0]
            for number, line in enumerate(file.read_text().splitlines(), 1):
                found = re.match(
                    r"^(?:@\w+ |public |package |internal |private |fileprivate )*import (?:\w+ )?(\w+)", line)
                if not found or found.group(1) in TOOLCHAIN or found.group(1) in graph.get(target, set()):
                    continue
                complaints.append(f"{file.relative_to(ROOT)}:{number}: {target} imports {found.group(1)}, which Package.swift does not list for it")
    print("\n".join(complaints) if complaints else "imports: each file imports only what its target declares")
    return 1 if complaints else 0


sys.exit(main())
