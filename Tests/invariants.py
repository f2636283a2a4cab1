#!/usr/bin/env python3
# Holdfast
# SPDX-License-Identifier: Apache-2.0
"""Compares docs/invariants.md with the tests: each key has a test function of its name, and each function it lists is there.

    invariants.py            says what is missing
    invariants.py --write    writes the last column anew from the tests

A test is named by its keys: `B6_E04_stragglersChangeNothing` shows B6 and E04."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/invariants.md"
ROW = re.compile(r"^\| (\w+) \| (.*) \| ([^|]*) \|$")
FUNCTION = re.compile(r"^ *(?:@Test\b.*?)?\bfunc ((?:[A-Z]\d+_)+)(\w+)\(", re.M)


def tests():
    """Of each key the functions that carry it, by file: `{"B6": {"ResilienceTests/BreakerRecoveryTests": ["B6_E04_…"]}}`."""
    found = {}
    for file in sorted((ROOT / "Tests").rglob("*.swift")):
        text, end = file.read_text(), 0
        for match in FUNCTION.finditer(text):
            # Its @Test stands before it, on the same line or above its arguments, with no other function between.
            if "@Test" in text[end:match.start(2)].rsplit("func ", 2)[-2]:
                place = str(file.relative_to(ROOT / "Tests").with_suffix(""))
                for key in match.group(1).rstrip("_").split("_"):
                    found.setdefault(key, {}).setdefault(place, []).append(match.group(1) + match.group(2))
            end = match.end()
    return found


def cell(places):
    return "<br>".join(f"{place}: " + ", ".join(f"`{name}`" for name in names) for place, names in places.items())


def main():
    found, complaints, lines, keys = tests(), [], [], []
    for line in PAGE.read_text().splitlines():
        row = ROW.match(line)
        if row and re.fullmatch(r"[A-Z]\d+", row.group(1)):
            key, sentence, listed = row.groups()
            keys.append(key)
            there = found.get(key, {})
            if not there:
                complaints.append(f"docs/invariants.md: {key} has no test function {key}_…")
            line = f"| {key} | {sentence} | {cell(there)} |"
            for part in listed.split("<br>"):
                place, _, names = part.partition(": ")
                for name in re.findall(r"`(\w+)`", names):
                    if name not in there.get(place, []) and "--write" not in sys.argv:
                        complaints.append(f"docs/invariants.md: {key} lists {name} in {place}, where no such test is")
        lines.append(line)
    if not keys:
        complaints.append("docs/invariants.md: no table")
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        complaints.append(f"docs/invariants.md: {key} stands twice")
    if "--write" in sys.argv:
        PAGE.write_text("\n".join(lines) + "\n")
    print("\n".join(complaints) if complaints else f"invariants: each of {len(keys)} has a test of its name")
    return 1 if complaints else 0


sys.exit(main())
