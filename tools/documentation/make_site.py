#!/usr/bin/env python3
"""Builds the site of documentation for tools/docs: make_site.py OUTPUT [BASE].

DocC's catalog is made in .build/docs: the articles of docs/Baton.docc, and the pages in docs, which become articles
too. So that nothing is written twice, an article may take a section of another file:

    <!-- include README.md: The method, step by step -->

Next to the catalog lie Baton.symbols.json, the library's symbol graph, and lines.json: for each of its symbols the line
of docs/library-symbols.txt.
"""

import json
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
from symbols import ROOT, Library  # pylint: disable=wrong-import-position

STAGE = os.path.join(ROOT, ".build/docs")
# The pages in docs, and the names that they have on the site.
PAGES = {
    "architecture.md": "Architecture",
    "invariants.md": "Invariants",
    "measuring.md": "MeasuringByCommand",
    "nbd.md": "NBD",
    "performance.md": "Performance",
    "takeover.md": "TakeoverInDetail",
}


def fail(words):
    sys.exit(f"docs: {words}")


def contents(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def section(path, title):
    """Returns what stands below a heading of a file."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", contents(path), re.M | re.S)
    return found.group(2).strip() if found else fail(f"{path} has no section '{title}'")


def linked(text):
    """Links between files become links between pages. A file that the site does not have is named."""

    def link(match):
        mark, words, target = match.groups()
        if mark:
            return f"![{words}]({os.path.basename(target)})"
        if re.match(r"(?:https?|doc):", target):
            return match.group(0)
        page = PAGES.get(os.path.basename(target))
        if page is None:
            return f"`{words}`" if re.fullmatch(r"[\w./-]+", words) else f"{words} (`{target}`)"
        return f"<doc:{page}>" if words.endswith(".md") else f"[{words}](doc:{page})"

    return re.sub(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)", link, text)


def staged(text):
    text = re.sub(r"^<!-- include (\S+): (.+) -->$", lambda match: section(*match.groups()), text, flags=re.M)
    return linked(text)


def stage():
    """Makes the catalog; returns its path."""
    catalog = os.path.join(STAGE, "Baton.docc")
    shutil.rmtree(STAGE, ignore_errors=True)
    os.makedirs(catalog)
    pages = {f"docs/{name}": f"{page}.md" for name, page in PAGES.items()}
    for name in os.listdir(os.path.join(ROOT, "docs")):
        if name.endswith(".md") and name not in PAGES:
            fail(f"docs/{name} has no name on the site: add it to PAGES")
        if name.endswith(".svg"):
            shutil.copy(os.path.join(ROOT, "docs", name), catalog)
    pages |= {f"docs/Baton.docc/{name}": name for name in os.listdir(os.path.join(ROOT, "docs/Baton.docc"))}
    for path, name in pages.items():
        if not name.endswith(".md"):
            shutil.copy(os.path.join(ROOT, path), catalog)
            continue
        with open(os.path.join(catalog, name), "w", encoding="utf-8") as file:
            file.write(staged(contents(path)))
    return catalog


def convert(catalog, built, base="", quiet=False):
    """Has DocC make a site of a catalog; returns its exit status, which is not 0 after a warning."""
    command = [
        "docc", "convert", catalog, "--additional-symbol-graph-dir", os.path.join(STAGE, "symbols"),
        "--output-path", built, "--fallback-display-name", "Baton", "--fallback-bundle-identifier", "baton",
        "--fallback-default-module-kind", "Library", "--warnings-as-errors",
    ]
    if base:
        command += ["--hosting-base-path", base]
    return subprocess.run(command, check=False, capture_output=quiet).returncode


def main():
    output, base = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    catalog = stage()
    library = Library()
    graph = library.graph()
    os.makedirs(os.path.join(STAGE, "symbols"))
    for name, value in ("symbols/Baton.symbols.json", graph), ("lines.json", library.lines):
        with open(os.path.join(STAGE, name), "w", encoding="utf-8") as file:
            json.dump(value, file)
    built = os.path.join(STAGE, "built")
    if convert(catalog, built, base) != 0:
        fail("the site was not built: see above")
    # The root leads to the first page. DocC's own page there says that it does not exist.
    with open(os.path.join(built, "index.html"), "w", encoding="utf-8") as file:
        place = f"{base.rstrip('/')}/documentation/baton/"
        file.write(f'<!doctype html><meta charset="utf-8"><title>Baton</title>'
                   f'<meta http-equiv="refresh" content="0; url={place}"><a href="{place}">Baton</a>\n')
    if os.path.exists(output) and not os.path.exists(os.path.join(output, "metadata.json")) and os.listdir(output):
        fail(f"{output}: exists, and is not a site of documentation; name another folder")
    shutil.rmtree(output, ignore_errors=True)
    shutil.move(built, output)


if __name__ == "__main__":
    main()
