"""A copy of the project in which the code can be changed, so that one build has many changes in it.

A change asks `shim_mutant(N)` whether it applies; the environment variable BATON_MUTANT names the one that does. The
copy's files are written only where they differ, so that what is unchanged is not compiled again."""

import os
import re
import subprocess

# How the code asks which change it is to make: at the end of the shims' header, and of their source.
HEADER = """
#include <stdbool.h>
extern int shim_mutant_number;
static inline bool shim_mutant(int number) { return shim_mutant_number == number; }
"""
CHOICE = """
#include <stdlib.h>
int shim_mutant_number = 0;
__attribute__((constructor)) static void shim_choose_mutant(void) {
  const char *number = getenv("BATON_MUTANT");
  if (number) shim_mutant_number = atoi(number);
}
"""


class Tree:
    """The copy, in a folder of its own."""

    def __init__(self, root, folder):
        self.root, self.folder = root, folder

    def write(self, path, text):
        """Writes a file if it differs."""
        target = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.exists(target):
            with open(target) as file:
                if file.read() == text:
                    return
        with open(target, "w") as file:
            file.write(text)

    def write_source(self, path, text):
        """The same for a Swift source that asks which change it is to make."""
        if "import CBatonShims" not in text:
            # In a line that exists, so that none moves.
            text = re.sub(r"^(?=[^/\s])", "import CBatonShims; ", text, count=1, flags=re.MULTILINE)
        self.write(path, text)

    def prepare(self, sources):
        """Copies everything but those sources, and removes what the project no longer has."""
        listed = subprocess.run(
            ["git", "-C", self.root, "ls-files", "--cached", "--others", "--exclude-standard", "Package.swift",
             "Sources", "Tests", "docs"], capture_output=True, text=True, check=True).stdout.split("\n")
        # Not in git, and needed: the same versions of what the package depends on.
        paths = {path for path in listed + ["Package.resolved"] if os.path.isfile(os.path.join(self.root, path))} - {""}
        for path in sorted(paths):
            try:
                with open(os.path.join(self.root, path)) as file:
                    text = file.read()
            except UnicodeDecodeError:
                continue
            if path == "Sources/CBatonShims/include/baton_shims.h":
                text += HEADER
            if path == "Sources/CBatonShims/baton_shims.c":
                text += CHOICE
            if path == "Package.swift":
                text = self.package(text)
            if path not in sources:
                self.write(path, text)
        for part in ("Sources", "Tests"):
            for folder, _, files in os.walk(os.path.join(self.folder, part)):
                for name in files:
                    path = os.path.relpath(os.path.join(folder, name), self.folder)
                    if path not in paths:
                        os.unlink(os.path.join(folder, name))

    @staticmethod
    def package(text):
        """A floor that names no shims cannot ask."""
        text = text.replace('dependencies: ["BatonSystem", "BatonSharedMemory"]',
                            'dependencies: ["BatonSystem", "BatonSharedMemory", "CBatonShims"]')
        return text.replace('name: "BatonNBD", dependencies: ["BatonSystem"]',
                            'name: "BatonNBD", dependencies: ["BatonSystem", "CBatonShims"]')
