"""The text of a batch script: what Slurm reads in it, and the names of its output files."""

from __future__ import annotations

from .options import UsageError

MAGIC = "#SBATCH"


def directives(text: str, name: str) -> list[str]:
    """The words of the #SBATCH lines up to the first command."""
    words: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(MAGIC):
            words += _words(line[len(MAGIC) :], name, number)
        elif line.strip() and not line.startswith("#"):
            break
    return words


def _words(line: str, name: str, number: int) -> list[str]:
    words: list[str] = []
    position = 0
    while True:
        word, position = _word(line, position, name, number)
        if word is None:
            return words
        words.append(word)


def _word(line: str, at: int, name: str, number: int) -> tuple[str | None, int]:
    """One argument: quotes group, a backslash escapes (inside quotes as well), a bare # starts a comment."""
    begin = at
    while at < len(line) and line[at].isspace():
        at += 1
    if line[at : at + 1] == ":":
        raise UsageError(f"sbatch: fatal: {name}: line {number}: Unexpected `:` in [{line[begin:]}]")
    word: str | None = None
    quote = ""
    while at < len(line) and (quote or not line[at].isspace()):
        character = line[at]
        at += 1
        if character == "\\":
            character, at = line[at : at + 1], at + 1
        elif quote and character == quote:
            quote = ""
            continue
        elif not quote and character in "\"'":
            quote = character
            continue
        elif not quote and character == "#":
            at -= 1
            break
        word = (word or "") + character
    if quote:
        raise UsageError(f"sbatch: fatal: {name}: line {number}: Unmatched `{quote}` in [{line[begin:]}]")
    return word, at


def check(text: str) -> None:
    """Refuse what sbatch refuses before it asks the controller."""
    if not text.strip():
        raise UsageError("sbatch: error: Batch script is empty!")
    if not text.startswith("#!"):
        raise UsageError(
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
            "sbatch: error: For instance: #!/bin/sh"
        )
    if "\0" in text:
        raise UsageError(
            "sbatch: error: The Slurm controller does not allow scripts that\n"
            "sbatch: error: contain a NULL character '\\0'."
        )
    if "\r\n" in text:
        raise UsageError(
            "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\n"
            "sbatch: error: instead of expected UNIX line breaks (\\n)."
        )


def file_name(pattern: str, symbols: dict[str, str]) -> str:
    """Fill in %j and the like; a backslash anywhere switches replacement off."""
    if "\\" in pattern:
        return pattern.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    result = ""
    at = 0
    while at < len(pattern):
        if pattern[at] != "%":
            result += pattern[at]
            at += 1
            continue
        end = at + 1
        while pattern[end : end + 1].isdigit():
            end += 1
        letter, width = pattern[end : end + 1], pattern[at + 1 : end]
        if letter == "%":
            result += symbols.get("%", "%")
        elif letter in symbols:
            value = symbols[letter]
            result += value.zfill(min(int(width), 10)) if width and value.isdigit() else value
        else:
            result += pattern[at : end + 1]
        at = end + 1
    return result
