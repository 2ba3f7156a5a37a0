"""Derives mutants of Swift source, by rule and from the text alone.

Each mutant is one change to one expression or statement. All of them are compiled into one build: `shim_mutant(N)` is
true when mutant N is chosen at run time. A change that does not compile is left out of the next build.
"""

import re

# What follows these cannot be told from a test, or is not the protocol's: logs, protocol points, counters for people.
LEFT_ALONE = re.compile(
    r"^\s*(//|import\b|@|case\b|precondition|assert|preconditionFailure|options\.logger|note\(|reach\(|count\(|"
    r"if !isPlain|if interventions|report|throw\b|fix:|doing:)|logger\.|\.count\(\.|BatonError|\"\"\"|"
    r"(public|private|package|internal|static|mutating|func|init|deinit|struct|enum|extension|typealias)\s.*\{$")
COMPARISON = re.compile(r" (==|!=|<=|>=|<|>) ")
OPPOSITE = {"==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}
STATEMENT_CALL = re.compile(r"^(\s*)((?:_ = )?[a-z][\w.\[\]$]*(?:\([^()]*\))?(?:\.[\w]+)*\(.*\))$")
ASSIGNMENT = re.compile(r"^(\s*)([a-z][\w.\[\]()]* (?:=|\+=|-=|&\+=|&-=|\|=|&=|\^=) [^=].*)$")
NOT_A_CALL = re.compile(r"^\s*(_ = )?(return|if|guard|while|for|switch|throw|try|let|var|super|self\.init|defer|precondition"
                        r"|assert|reach|count|note|close|unlink|munmap|repeat|else|case|in\b)")
CONTINUES = re.compile(r"^\s*([.?:]|&&|\|\||[-+*/|&]\s|else\b)")
UNFINISHED = re.compile(r"([,(\[=:?]|&&|\|\||\breturn|\belse|[-+*/]|\bin)$")
STORE = re.compile(r"\.store(Releasing|Relaxed)\(|\bpointee\.\w+ = ")


class Mutant:
    """One change of one line (from 0): from column `begin` to `end` it stands between `before` and `after`, in which
    `#` is its number. Changes of one line nest. Without columns, the line changes places with the next one."""

    def __init__(self, path, line, rule, original, begin=None, end=None, before="", after=""):
        self.path, self.line, self.rule, self.original = path, line, rule, original
        self.begin, self.end, self.before, self.after = begin, end, before, after
        self.number = -1

    @property
    def name(self):
        part = self.original.strip() if self.begin is None else self.original[self.begin:self.end]
        return f"{self.path}:{self.line + 1}: {self.rule}: {part}"


def blank_strings(line):
    """The line with what stands in strings and comments made blank, column by column."""
    out, index, quoted = [], 0, False
    while index < len(line):
        char = line[index]
        if quoted:
            if char == "\\" and index + 1 < len(line):
                out.append("  ")
                index += 2
                continue
            if char == '"':
                quoted = False
            out.append(" ")
        elif char == '"':
            quoted = True
            out.append(" ")
        elif line.startswith("//", index):
            out.append(" " * (len(line) - index))
            break
        else:
            out.append(char)
        index += 1
    return "".join(out)


def depth_split(text, separator):
    """Splits at a separator that stands outside of all brackets; (start, end) of each part."""
    parts, depth, start, index = [], 0, 0, 0
    while index < len(text):
        char = text[index]
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        if depth == 0 and text.startswith(separator, index):
            parts.append((start, index))
            index += len(separator)
            start = index
            continue
        index += 1
    parts.append((start, len(text)))
    return parts


def is_balanced(text):
    depth = 0
    for char in text:
        depth += char in "([{"
        depth -= char in ")]}"
        if depth < 0:
            return False
    return depth == 0


def operands(line, at, width):
    """Where the comparison whose operator stands at that column begins and ends; None where it crosses the line."""
    stops = ("&&", "||")
    depth, index = 0, at - 1
    while index >= 0:
        char = line[index]
        if char in ")]}":
            depth += 1
        elif char in "([{":
            if depth == 0:
                break
            depth -= 1
        elif depth == 0:
            if char in ",;" or line[index - 1:index + 1] in stops or line[max(0, index - 1):index + 2] in (" ? ", " : ", " = "):
                break
            word = re.search(r"\b(return|if|guard|while|where|in|else|let|var|case)$", line[:index + 1])
            if word and line[index + 1] == " ":
                break
        index -= 1
    begin = index + 1
    while begin < at and line[begin] == " ":
        begin += 1
    depth, index = 0, at + width
    while index < len(line):
        char = line[index]
        if char in "([":
            depth += 1
        elif char in ")]":
            if depth == 0:
                break
            depth -= 1
        elif char in "{}":
            if depth == 0:
                break
        elif depth == 0:
            if char in ",;" or line[index:index + 2] in stops or line[index:index + 3] in (" ? ", " : "):
                break
            if line.startswith(" else", index) or line.startswith(" where", index):
                break
        index += 1
    end = index
    while end > at + width and line[end - 1] == " ":
        end -= 1
    left, right = line[begin:at].strip(), line[at + width:end].strip()
    if not left or not right or not is_balanced(left) or not is_balanced(right):
        return None
    return begin, end


def conditions(blank):
    """The clauses of a `guard`, `if` or `while` that stands in one line: (start, end) of each, and how it is dropped."""
    match = re.match(r"^(\s*)(?:\} else )?(guard|if|while) (.*?)( else \{.*| else$| \{.*)$", blank)
    if not match:
        return
    start = match.start(3)
    for begin, end in depth_split(match.group(3), ", "):
        clause = match.group(3)[begin:end]
        if re.match(r"\s*(let|var|case|#available|try)\b", clause) or " let " in clause or not is_balanced(clause):
            continue
        if clause.strip() == "true":
            continue
        yield start + begin, start + end, match.group(2)


def mutants(path, text):
    """Every mutant of a file, in the order of its lines."""
    lines = text.split("\n")
    result = []

    def add(line, rule, begin, end, before, after):
        if lines[line][begin:end].strip():
            result.append(Mutant(path, line, rule, lines[line], begin, end, before, after))

    in_initializer, quoted = None, False
    for number, line in enumerate(lines):
        if '"""' in line:
            quoted = not quoted
            continue
        if quoted:
            continue
        indent = len(line) - len(line.lstrip())
        if in_initializer is not None:
            if line.strip() == "}" and indent == in_initializer:
                in_initializer = None
            continue
        # What an initializer leaves out does not compile, as a rule.
        if re.match(r"\s*(@\w+(\([^)]*\))? )*((public|package|private|fileprivate) )?(convenience )?(init[?(<]|deinit)", line):
            if not line.rstrip().endswith("}"):
                in_initializer = indent
            continue
        blank = blank_strings(line)
        if LEFT_ALONE.search(blank) and not re.match(r"^\s*(\} else )?(guard|if|while|for|switch)\b", blank):
            continue
        if not blank.strip():
            continue

        for match in COMPARISON.finditer(blank):
            place = operands(blank, match.start(), len(match.group(0)))
            if place is None:
                continue
            begin, end = place
            left = line[begin:match.start()].strip()
            right = line[match.end():end].strip()
            operator = match.group(1)
            add(number, f"{operator} becomes {OPPOSITE[operator]}", begin, end,
                f"(shim_mutant(#) ? {left} {OPPOSITE[operator]} {right} : ", ")")

        for begin, end, keyword in conditions(blank):
            for separator, neutral in ((" && ", "(shim_mutant(#) || ("), (" || ", "(!shim_mutant(#) && (")):
                parts = depth_split(blank[begin:end], separator)
                if len(parts) > 1:
                    for start, stop in parts:
                        add(number, "operand dropped", begin + start, begin + stop, neutral, "))")
            if keyword == "guard":
                add(number, "check dropped", begin, end, "(shim_mutant(#) || (", "))")
            else:
                add(number, "branch dropped", begin, end, "(!shim_mutant(#) && (", "))")
            if not COMPARISON.search(blank[begin:end]):
                add(number, "check negated", begin, end, "(shim_mutant(#) != (", "))")

        match = re.match(r"^(\s*)(return )?(.+ (&&|\|\|) .+)$", blank)
        if match and not re.match(r"^\s*(\} else )?(guard|if|while|for|let|var|case)\b", blank):
            begin = match.start(3)
            for separator, neutral in ((" && ", "(shim_mutant(#) || ("), (" || ", "(!shim_mutant(#) && (")):
                parts = depth_split(blank[begin:], separator)
                if len(parts) > 1 and is_balanced(blank[begin:]):
                    for start, stop in parts:
                        add(number, "operand dropped", begin + start, begin + stop, neutral, "))")

        for match in re.finditer(r"( &?[-+] )(1)(?![\w.])", blank):
            add(number, "bound off by one", match.start(2), match.end(2), "(shim_mutant(#) ? 0 : ", ")")
        match = re.match(r"^\s*(?:\} else )?(?:if .*\{ )?return (true|false)(?= \}$|$)", blank)
        if match:
            add(number, "result negated", match.start(1), match.end(1), "(shim_mutant(#) != ", ")")

        before = next((lines[i].rstrip() for i in range(number - 1, -1, -1) if lines[i].strip()), "")
        after = next((lines[i] for i in range(number + 1, len(lines)) if lines[i].strip()), "")
        alone = not UNFINISHED.search(blank_strings(before).rstrip()) and not CONTINUES.search(after)
        call = STATEMENT_CALL.match(line)
        if alone and call and not NOT_A_CALL.match(line) and is_balanced(blank.strip()):
            add(number, "call left out", len(call.group(1)), len(line), "if !shim_mutant(#) { ", " }")
        assignment = ASSIGNMENT.match(line)
        if alone and assignment and not NOT_A_CALL.match(line) and is_balanced(blank.strip()) and "{" not in blank:
            add(number, "assignment left out", len(assignment.group(1)), len(line),
                "if !shim_mutant(#) { ", " }")
            if number + 1 < len(lines):
                following = ASSIGNMENT.match(lines[number + 1]) or STATEMENT_CALL.match(lines[number + 1])
                if following and STORE.search(line) and STORE.search(lines[number + 1]) \
                        and is_balanced(blank_strings(lines[number + 1])):
                    result.append(Mutant(path, number, "stores swapped", line))
    return result


def apply(text, chosen):
    """The text with each of these mutants in it, switched on by its number; and for each of its lines the line (from 0)
    that it was made of."""
    lines = text.split("\n")
    of_line = {}
    for mutant in chosen:
        of_line.setdefault(mutant.line, []).append(mutant)
    out, origin, number = [], [], 0
    while number < len(lines):
        line = lines[number]
        here = of_line.get(number, [])
        inserted = {}
        for mutant in here:
            if mutant.begin is None:
                continue
            width = mutant.end - mutant.begin
            number_text = str(mutant.number)
            # The widest is outermost. Of two with the same columns the first is.
            inserted.setdefault(mutant.begin, []).append((1, -width, mutant.number, mutant.before.replace("#", number_text)))
            inserted.setdefault(mutant.end, []).append((0, width, -mutant.number, mutant.after.replace("#", number_text)))
        changed, last = "", 0
        for column in sorted(inserted):
            changed += line[last:column] + "".join(entry[3] for entry in sorted(inserted[column], key=lambda e: e[:3]))
            last = column
        changed += line[last:]
        swap = next((m for m in here if m.begin is None), None)
        if swap is not None:
            out.append(f"if shim_mutant({swap.number}) {{")
            out += [lines[number + 1], line, "} else {", changed, lines[number + 1], "}"]
            origin += [number] * 7
            number += 2
            continue
        out.append(changed)
        origin.append(number)
        number += 1
    return "\n".join(out), origin
