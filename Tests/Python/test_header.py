"""The Python package against baton.h: a C compiler compares sizes, places and numbers.

BATON_HEADER names the header.
"""

import ctypes
import os
import re
import subprocess
import unittest

from baton import _library, names

HEADER = os.environ["BATON_HEADER"]
STRUCTURES = {
    "baton_error": _library.Error,
    "baton_controller_options": _library.ControllerOptions,
    "baton_process_options": _library.ProcessOptions,
    "baton_host_options": _library.HostOptions,
    "baton_request": _library.Request,
    "baton_completion": _library.Completion,
    "baton_ownership": _library.Ownership,
    "baton_controller_info": _library.ControllerInfo,
    "baton_unit_info": _library.UnitInfo,
}
# How the header's names of a class begin.
PREFIXES = {
    names.ErrorCode: "BATON_ERROR_",
    names.Which: "BATON_",
    names.Mask: "BATON_MASK_",
    names.Operation: "BATON_",
    names.Flag: "BATON_REQUEST_",
    names.Status: "BATON_STATUS_",
    names.UnitState: "BATON_UNIT_",
    names.UnitKind: "BATON_KIND_",
    names.Wait: "BATON_WAIT_",
    names.LogLevel: "BATON_LOG_",
    names.Phase: "BATON_PHASE_",
    names.Standing: "BATON_STANDING_",
}


def compiles(lines):
    source = "\n".join([f'#include "{HEADER}"', *lines, ""])
    done = subprocess.run(
        ["cc", "-std=c11", "-fsyntax-only", "-x", "c", "-"], input=source, capture_output=True, text=True)
    return done.returncode == 0, done.stderr


class HeaderTests(unittest.TestCase):
    def test_structures_lie_in_memory_as_in_the_header(self):
        lines = []
        for name, structure in STRUCTURES.items():
            lines.append(f'_Static_assert(sizeof(struct {name}) == {ctypes.sizeof(structure)}, "{name}");')
            for field in structure._fields_:
                place, size = getattr(structure, field[0]).offset, getattr(structure, field[0]).size
                lines.append(f'_Static_assert(offsetof(struct {name}, {field[0]}) == {place}, "{name}.{field[0]}");')
                lines.append(
                    f'_Static_assert(sizeof(((struct {name} *)0)->{field[0]}) == {size}, "size of {name}.{field[0]}");')
        fine, words = compiles(lines)
        self.assertTrue(fine, words)
        # A wrong one is found: the comparison itself works.
        fine, _ = compiles(['_Static_assert(offsetof(struct baton_request, unit) == 5, "unit");'])
        self.assertFalse(fine)

    def test_every_structure_and_number_of_the_header_is_known(self):
        with open(HEADER, encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        structures = set(re.findall(r"^struct (baton_\w+) {", text, flags=re.M))
        self.assertEqual(structures, set(STRUCTURES))
        functions = set(re.findall(r"^BATON_API [^(]*?\b(baton_\w+)\(", text, flags=re.M))
        self.assertEqual(functions, set(_library.FUNCTIONS))
        numbers = set()
        for body in re.findall(r"^enum[^{;]*{(.*?)}", text, flags=re.S | re.M):
            numbers |= set(re.findall(r"\b(BATON_\w+)\s*=", body))
        known = {prefix + member for kind, prefix in PREFIXES.items() for member in kind.__members__}
        # Flags of single calls, which are keyword arguments.
        calls = {
            "BATON_CREATE_REPLACE", "BATON_CREATE_BUFFERED", "BATON_RUN_SIGNALS", "BATON_PROCESS_SUPERVISED",
            "BATON_PROCESS_DETACHED",
        }
        self.assertEqual(numbers, known | calls)

    def test_numbers_are_those_of_the_header(self):
        lines = [
            f'_Static_assert({prefix}{name} == {int(value)}, "{name}");'
            for kind, prefix in PREFIXES.items() for name, value in kind.__members__.items()
        ]
        lines += [
            f'_Static_assert({name} == {value}, "{name}");' for name, value in [
                ("BATON_CREATE_REPLACE", 1), ("BATON_CREATE_BUFFERED", 2), ("BATON_RUN_SIGNALS", 1),
                ("BATON_PROCESS_SUPERVISED", 1), ("BATON_PROCESS_DETACHED", 2), ("BATON_API_LEVEL", _library.API_LEVEL),
            ]
        ]
        fine, words = compiles(lines)
        self.assertTrue(fine, words)

    def test_functions_are_given_what_the_header_says(self):
        with open(HEADER, encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        for name, (_, arguments) in _library.FUNCTIONS.items():
            declared = re.search(r"\b" + name + r"\(([^)]*)\)", text)
            self.assertIsNotNone(declared, name)
            words = [] if declared[1].strip() == "void" else declared[1].split(",")
            self.assertEqual(len(words), len(arguments), name)
            for word, argument in zip(words, arguments):
                is_pointer = "*" in word
                size = ctypes.sizeof(argument)
                expected = 8 if is_pointer or "64_t" in word or "size_t" in word else 4
                self.assertEqual(size, expected, f"{name}: {word}")


if __name__ == "__main__":
    unittest.main()
