#!/usr/bin/env python3
"""The symbols that an embedder gets by `import Baton`, as the debug build has them.

`symbols.py` prints them for tools/check-symbols, one a line: path, a colon, declaration. `tools/docs` takes `extract`,
which makes one symbol graph of them.

Sources/Baton/Baton.swift exports types of the floors one by one. A compiler's symbol graph has the symbols of one
module, and nothing of what the module exports again. So the graphs of the floors are taken, reduced to the exported
types, and joined into one of a module named Baton.
"""

import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# What the compiler writes by itself, with the standard library's long documentation: ours, in a sentence.
SYNTHESIZED = {
    "init(rawValue:)": "The case with this raw value; nil if no case has it.",
}


def fail(words):
    sys.exit(f"symbols: {words}")


def exported():
    """Returns the exported types: names by module."""
    types = {}
    with open(os.path.join(ROOT, "Sources/Baton/Baton.swift"), encoding="utf-8") as source:
        for module, name in re.findall(r"^@_exported import \w+ (\w+)\.(\w+)$", source.read(), re.M):
            types.setdefault(module, set()).add(name)
    return types or fail("Sources/Baton/Baton.swift exports nothing")


def graphs(modules):
    """Returns the symbol graphs of these modules of the debug build."""
    information = json.loads(subprocess.run(
        ["swift", "-print-target-info"], check=True, capture_output=True, text=True).stdout)
    with tempfile.TemporaryDirectory() as scratch:

        def extract(module):
            done = subprocess.run(
                ["swift", "symbolgraph-extract", "-module-name", module,
                 "-target", information["target"]["unversionedTriple"], "-I", f"{ROOT}/.build/debug/Modules",
                 "-I", f"{ROOT}/Sources/CBatonShims/include", "-I", f"{ROOT}/Sources/CLiburing",
                 "-minimum-access-level", "public", "-skip-synthesized-members", "-output-dir", scratch],
                capture_output=True, text=True, check=False)
            if done.returncode != 0:
                fail(f"the symbols of {module} cannot be had: {done.stderr.strip()}")

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(extract, modules))
        for name in sorted(os.listdir(scratch)):
            with open(os.path.join(scratch, name), encoding="utf-8") as file:
                yield json.load(file)


def declaration(symbol):
    text = "".join(part["spelling"] for part in symbol.get("declarationFragments", []))
    return re.sub(r"\s+", " ", text)


def usr(symbol):
    return symbol["identifier"]["precise"]


class Library:
    """The symbols, what relates them, and what they are called in docs/library-symbols.txt."""

    def __init__(self):
        types = exported()
        names = set().union(*types.values())
        self.symbols, self.relationships, others = {}, [], {}
        for graph in graphs(sorted(types)):
            self.format, self.platform = graph["metadata"], graph["module"]["platform"]
            for symbol in graph["symbols"]:
                ours = symbol["pathComponents"][0] in names
                (self.symbols if ours else others)[usr(symbol)] = symbol
            self.relationships += graph["relationships"]
        if len(self.symbols) <= 100:
            fail(f"found {len(self.symbols)} symbols only, which cannot be all")
        # By symbol: the line of the list.
        self.lines = {
            key: ".".join(symbol["pathComponents"]) + ": " + declaration(symbol)
            for key, symbol in self.symbols.items()
        }
        self._others = others

    def graph(self):
        """Returns one symbol graph of a module named Baton."""
        self._take_aliased_types()
        for key, symbol in self.symbols.items():
            self._document(key, symbol)
            # No symbol comes from an extension of another module's type any more.
            symbol.pop("swiftExtension", None)
        relationships = [relation for relation in self.relationships if relation["source"] in self.symbols]
        for relation in relationships:
            # Requirements whose documentation DocC would look for in the standard library.
            relation.pop("sourceOrigin", None)
        return {
            "metadata": self.format,
            "module": {"name": "Baton", "platform": self.platform},
            "symbols": list(self.symbols.values()),
            "relationships": relationships,
        }

    def _take_aliased_types(self):
        """A type of a floor that is exported by an alias alone takes the place of the alias, with its members: a page
        for the alias could not show them."""
        for alias in [s for s in self.symbols.values() if s["kind"]["identifier"] == "swift.typealias"]:
            named = [part.get("preciseIdentifier") for part in alias["declarationFragments"]]
            target = next((key for key in reversed(named) if key in self._others), None)
            if target is None:
                continue
            path = alias["pathComponents"]
            old = self._others[target]["pathComponents"]
            self.relationships = [
                relation for relation in self.relationships
                if (relation["source"], relation["kind"]) != (target, "memberOf")
            ]
            for key, symbol in list(self._others.items()):
                if symbol["pathComponents"][:len(old)] == old:
                    symbol["pathComponents"] = path + symbol["pathComponents"][len(old):]
                    self.symbols[key] = self._others.pop(key)
            self.symbols[target]["docComment"] = alias["docComment"]
            self.symbols[target]["names"]["title"] = ".".join(path)
            self.lines[target] = self.lines.pop(usr(alias))
            del self.symbols[usr(alias)]
            for relation in self.relationships:
                for end in ("source", "target"):
                    if relation[end] == usr(alias):
                        relation[end] = target
            # Declarations link to the alias.
            for symbol in self.symbols.values():
                text = json.dumps(symbol)
                if json.dumps(usr(alias)) in text:
                    symbol.update(json.loads(text.replace(json.dumps(usr(alias)), json.dumps(target))))

    def _document(self, key, symbol):
        name = symbol["pathComponents"][-1]
        if name in SYNTHESIZED and "location" not in symbol:
            symbol["docComment"] = {"lines": [{"text": SYNTHESIZED[name]}]}
        comment = symbol.get("docComment")
        if not comment or not any(line["text"].strip() for line in comment["lines"]):
            fail(f"{'.'.join(symbol['pathComponents'])}: has no documentation comment")
        # DocC takes a comment of another module for an inherited one, and leaves it out.
        comment["module"] = "Baton"


if __name__ == "__main__":
    print("\n".join(sorted(set(Library().lines.values()))))
