"""Writes manual pages of baton: python3 manual.py FOLDER VERSION BATON BATON-LAB.

From what the executables say of themselves (`--experimental-dump-help`), so that a page cannot differ from `--help`. One
page for baton, and one for each subcommand; those of the laboratory's are baton-lab's."""

import json
import os
import re
import subprocess
import sys


def described(program):
    output = subprocess.run([program, "--experimental-dump-help"], capture_output=True, text=True, check=True).stdout
    return json.loads(output)["command"]


def plain(text):
    """Text as roff takes it."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def paragraphs(text):
    return "\n.PP\n".join(plain(" ".join(part.split("\n"))) for part in re.split(r"\n\s*\n", text.strip()))


def spelling(name):
    return ("--" if name["kind"] == "long" else "-") + name["name"]


def heading(argument):
    """The first line of an option or argument."""
    value = f" \\fI{plain(argument.get('valueName', ''))}\\fR"
    if argument["kind"] == "positional":
        return f"\\fI{plain(argument['valueName'])}\\fR" + (" ..." if argument["isRepeating"] else "")
    names = ", ".join(f"\\fB{plain(spelling(name))}\\fR" for name in argument["names"])
    return names + (value if argument["kind"] == "option" else "")


def synopsis(argument):
    if argument["kind"] == "positional":
        text = f"\\fI{plain(argument['valueName'])}\\fR"
    else:
        text = f"\\fB{plain(spelling(argument['preferredName']))}\\fR"
        if argument["kind"] == "option":
            text += f" \\fI{plain(argument['valueName'])}\\fR"
    if argument["isRepeating"]:
        text += " ..."
    return f"[{text}]" if argument["isOptional"] else text


def page(name, command, version, subcommands=()):
    shown = [a for a in command.get("arguments", []) if a.get("shouldDisplay", True)]
    abstract = " ".join(command["abstract"].split()).rstrip(".")
    lines = [f'.TH {name.upper()} 1 "" "Baton {version}" "User Commands"', ".SH NAME",
             f"{plain(name)} \\- {plain(abstract[0].lower() + abstract[1:])}", ".SH SYNOPSIS",
             f"\\fB{plain(name.replace('-', ' ', 1))}\\fR"]
    if subcommands:
        lines.append("\\fIsubcommand\\fR [\\fIoptions\\fR]")
    lines += [synopsis(argument) for argument in shown]
    lines += [".SH DESCRIPTION", paragraphs(command["abstract"])]
    if command.get("discussion"):
        lines += [".PP", paragraphs(command["discussion"])]
    if shown:
        lines.append(".SH OPTIONS")
        for argument in shown:
            text = argument.get("abstract", "")
            if argument.get("allValues") and "values" not in text:
                text += f" Values: {', '.join(argument['allValues'])}."
            if argument.get("defaultValue") and "default" not in text.lower():
                text += f" Default: {argument['defaultValue']}."
            lines += [".TP", heading(argument), paragraphs(text) if text else ""]
    if subcommands:
        lines.append(".SH SUBCOMMANDS")
        for subcommand in subcommands:
            lines += [".TP", f"\\fB{plain(subcommand['commandName'])}\\fR", paragraphs(subcommand["abstract"])]
        lines += [".SH FILES", ".TP", "\\fI/dev/shm/baton\\-UID/NAME\\fR",
                  plain("The subsystem NAME of that user, unless BATON_HOME names another folder."),
                  ".SH ENVIRONMENT", ".TP", "\\fBBATON_HOME\\fR", "The folder that the user's subsystems lie in."]
    others = [f"baton\\-{plain(s['commandName'])}" for s in subcommands] if subcommands else ["baton"]
    lines += [".SH SEE ALSO", ",\n".join(f"\\fB{other}\\fR(1)" for other in others)]
    return "\n".join(line for line in lines if line) + "\n"


def main():
    folder, version, baton, laboratory = sys.argv[1:5]
    os.makedirs(folder, exist_ok=True)
    whole = described(baton)
    of_laboratory = {s["commandName"]: s for s in described(laboratory)["subcommands"]}
    subcommands = [s for s in whole["subcommands"] if s.get("shouldDisplay", True) and s["commandName"] != "help"]
    with open(os.path.join(folder, "baton.1"), "w") as file:
        file.write(page("baton", whole, version, subcommands))
    for subcommand in subcommands:
        name = subcommand["commandName"]
        # `baton bench` and `baton stress` hand their words on.
        only_hands_on = any(a.get("parsingStrategy") == "allRemainingInput" for a in subcommand.get("arguments", []))
        described_by = of_laboratory.get(name, subcommand) if only_hands_on else subcommand
        with open(os.path.join(folder, f"baton-{name}.1"), "w") as file:
            file.write(page(f"baton-{name}", described_by, version))


if __name__ == "__main__":
    main()
