#!/usr/bin/env python3
"""Checks a site that tools/docs has built: check_site.py SITE SCRATCH. See tools/check-docs.

A comment right before a code block, which no page shows, says what the block stands on:

    <!-- given subsystem: Subsystem; import Glibc -->   Swift: what the block finds, and what else it imports
    <!-- from examples/dispatch.c -->                   the block is a piece of that file, line by line

Every block in Swift is compiled as the body of a function; all other blocks are files of their own. A file that a block
is a piece of is compiled too, unless it is a page.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

sys.dont_write_bytecode = True
from make_site import PAGES, STAGE, convert  # pylint: disable=wrong-import-position
from symbols import ROOT  # pylint: disable=wrong-import-position

LANGUAGES = {"swift": ".swift", "c": ".c", "cpp": ".cpp", "python": ".py", "rust": ".rs"}
# What other blocks are marked with, or not at all: shell commands and job files.
OTHERS = {"", "ini"}


class Block:
    """A block of code: where it stands, its language, and what the comment before it says."""

    def __init__(self, place, language, text, given=None, source=None):
        self.place, self.language, self.text, self.given, self.source = place, language, text, given, source


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def fenced(name, text):
    """Finds the fenced blocks of a text."""
    pattern = r"(?:^<!-- (given|from) ([^\n]+) -->\n)?^(`{3,})([^\n`]*)\n(.*?)^\3[ \t]*$"
    for match in re.finditer(pattern, text, re.M | re.S):
        kind, words, _, language, code = match.groups()
        place = f"{name}:{1 + text.count(chr(10), 0, match.start(3))}"
        if language not in LANGUAGES and language not in OTHERS:
            yield Block(place, None, language)
        elif language in LANGUAGES:
            yield Block(
                place, language, code, words if kind == "given" else None, words if kind == "from" else None)


def blocks():
    """Finds all blocks: of the articles, the pages, the READMEs and the library's comments."""
    paths = sorted(glob.glob(f"{ROOT}/docs/Baton.docc/*.md"))
    paths += [f"{ROOT}/docs/{name}" for name in PAGES] + [f"{ROOT}/README.md", f"{ROOT}/python/README.md"]
    for path in paths:
        yield from fenced(os.path.relpath(path, ROOT), read(path))
    graph = json.loads(read(f"{STAGE}/symbols/Baton.symbols.json"))
    for symbol in graph["symbols"]:
        text = "\n".join(line["text"] for line in symbol["docComment"]["lines"]) + "\n"
        yield from fenced(".".join(symbol["pathComponents"]), text)


def run(command):
    """Runs a compiler; returns what it said if it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return (done.stderr + done.stdout).strip() or "it failed" if done.returncode != 0 else None


def as_function(number, block):
    """A block of Swift as a function, in a file of its own that names the block in messages."""
    given, *imports = re.split(r"\s*;\s*", block.given or "")
    lines, body = [*imports, "import Baton", "import Logging"], []
    for line in block.text.split("\n"):
        (lines if line.startswith("import ") else body).append(line)
    parameters = ", ".join(re.sub(r"^", "_ ", part) for part in re.split(r", (?=\w+:)", given)) if given else ""
    lines.append(f"func block{number}({parameters}) async throws {{")
    lines.append(f'#sourceLocation(file: "{block.place}", line: 1)')
    return "\n".join(dict.fromkeys(lines[:-2])) + "\n" + "\n".join(lines[-2:] + body) + "\n#sourceLocation()\n}\n"


def compile_swift(swift, scratch):
    """Compiles all blocks of Swift in one go, against the library as it was built last."""
    folder = os.path.join(scratch, "swift")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    files = []
    for number, block in enumerate(swift):
        files.append(os.path.join(folder, f"block{number}.swift"))
        with open(files[-1], "w", encoding="utf-8") as file:
            file.write(as_function(number, block))
    # Down to the object file: some rules on noncopyable values are checked late.
    return run([
        "swiftc", "-c", "-wmo", "-module-name", "Blocks", "-swift-version", "6", "-enable-upcoming-feature",
        "ExistentialAny", "-warnings-as-errors", "-parse-as-library", "-I", f"{ROOT}/.build/debug/Modules",
        "-I", f"{ROOT}/Sources/CBatonShims/include", "-I", f"{ROOT}/Sources/CLiburing",
        "-o", os.path.join(folder, "blocks.o"), *files,
    ])


def compiler(language, scratch):
    """Returns the command that compiles a file of a language; None if the machine has none."""
    header = ["-I", f"{ROOT}/Sources/CBaton/include"]
    if language == "c" and (name := shutil.which("gcc") or shutil.which("clang")):
        return [name, "-std=c11", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *header]
    if language == "cpp" and (name := shutil.which("g++") or shutil.which("clang++")):
        return [name, "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *header]
    if language == "python":
        return [sys.executable, "-c", "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')"]
    if language == "rust" and (name := shutil.which("rustc")):
        # Into a folder, never to /dev/null: rustc renames a file to its output, and would replace the device.
        return [name, "--edition", "2021", "--crate-type", "bin", "--emit=metadata", "-D", "warnings",
                "--out-dir", os.path.join(scratch, "rust")]
    return None


def compile_other(block, scratch):
    """Compiles a block of another language; returns what is wrong, or None."""
    command = compiler(block.language, scratch)
    if command is None:
        return None
    path = os.path.join(scratch, "block" + LANGUAGES[block.language])
    with open(path, "w", encoding="utf-8") as file:
        file.write(block.text)
    return run([*command, path])


def is_piece(block, path):
    """Whether the lines of a block follow each other in a file, at any indentation."""

    def plain(text):
        return textwrap.dedent(text).strip("\n").split("\n")

    wanted, lines = plain(block.text), read(path).split("\n")
    return any(
        plain("\n".join(lines[at:at + len(wanted)])) == wanted for at in range(len(lines) - len(wanted) + 1))


def check_blocks(found, scratch):
    """Returns what is wrong with the blocks, and how many of each language were compiled."""
    wrong, compiled, missing, files = [], {}, set(), {}
    swift = []
    for block in found:
        if block.language is None:
            wrong.append(f"{block.place}: a block in '{block.text}', which this check does not know")
            continue
        compiled[block.language] = compiled.get(block.language, 0) + 1
        if block.source:
            path = os.path.join(ROOT, block.source)
            if not os.path.exists(path):
                wrong.append(f"{block.place}: {block.source} does not exist")
            elif not is_piece(block, path):
                wrong.append(f"{block.place}: these lines do not follow each other in {block.source}")
            elif not path.endswith(".md"):
                files[path] = Block(block.source, block.language, read(path))
        elif block.language == "swift":
            swift.append(block)
        else:
            files[block.place] = block
    if swift and (words := compile_swift(swift, scratch)):
        wrong.append(words)
    for block in files.values():
        if compiler(block.language, scratch) is None:
            missing.add(f"not checked: {block.language}, because this machine has no compiler for it")
        elif block.language == "cpp" and "benchmark/benchmark.h" in block.text and run(
                ["g++", "-fsyntax-only", "-include", "benchmark/benchmark.h", "-x", "c++", os.devnull]):
            missing.add(f"not checked: {block.place}, because libbenchmark-dev is missing")
        elif words := compile_other(block, scratch):
            wrong.append(f"{block.place}: does not compile: {words}")
    for words in sorted(missing):
        print(words)
    return wrong, compiled


def check_symbols(site):
    """Returns what is wrong with the symbols' pages."""
    lines = json.loads(read(f"{STAGE}/lines.json"))
    promised = set(read(f"{ROOT}/docs/library-symbols.txt").splitlines())
    wrong, shown = [], set()
    for path in glob.glob(f"{site}/data/documentation/**/*.json", recursive=True):
        page = json.loads(read(path))
        line = lines.get(page["metadata"].get("externalID"))
        if line is None:
            continue
        shown.add(line)
        summary = "".join(part.get("text", part.get("code", "")) for part in page.get("abstract", []))
        if not summary.strip():
            wrong.append(f"{line}: its page has no summary")
        elif summary.startswith("The same"):
            wrong.append(f"{line}: its summary says nothing on a page of its own: '{summary}'")
    wrong += [f"{line}: has no page" for line in sorted(promised - shown)]
    wrong += [f"{line}: has a page, and is not in docs/library-symbols.txt" for line in sorted(shown - promised)]
    return wrong, len(shown)


def planted(site, scratch):
    """Returns the mistakes that were not found."""
    unfound = []
    catalog = os.path.join(scratch, "Baton.docc")
    shutil.copytree(f"{STAGE}/Baton.docc", catalog)
    with open(f"{catalog}/FirstSteps.md", "a", encoding="utf-8") as file:
        file.write("\n``Controller/noSuchSymbol`` and ``Controller/poll()``\n")
    if convert(catalog, os.path.join(scratch, "planted"), quiet=True) == 0:
        unfound.append("a wrong link")
    os.remove(f"{site}/data/documentation/baton/controller/poll().json")
    if not any(line.startswith("Controller.poll(): ") for line in check_symbols(site)[0]):
        unfound.append("a symbol without a page")
    mistakes = {
        "swift": "let n: Int = \"one\"\nprint(n)\n",
        "c": "int main(void) { return baton_no_such_function(); }\n",
        "cpp": "int main() { int n = \"one\"; return n; }\n",
        "python": "while True print(1)\n",
        "rust": "fn main() { let n: i32 = \"one\"; println!(\"{}\", n); }\n",
    }
    for language, text in mistakes.items():
        is_checked = language == "swift" or compiler(language, scratch) is not None
        if is_checked and not check_blocks([Block("planted", language, text)], scratch)[0]:
            unfound.append(f"a block of {language} that does not compile")
    if not check_blocks([Block("planted", "c", "int no_such_line;\n", source="examples/dispatch.c")], scratch)[0]:
        unfound.append("a block that is no longer a piece of its file")
    return unfound


def main():
    site, scratch = sys.argv[1:]
    wrong, shown = check_symbols(site)
    more, compiled = check_blocks(list(blocks()), scratch)
    wrong += more
    # A check that finds nothing may be looking at nothing.
    wrong += [f"planted, and not found: {words}" for words in planted(site, scratch)]
    for words in wrong:
        print(f"check-docs: {words}")
    counts = ", ".join(f"{count} {language}" for language, count in sorted(compiled.items()))
    print(f"check-docs: {shown} symbols with a page; blocks of code: {counts}; {len(wrong)} findings")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
