"""Command lines the way glibc's getopt_long reads them, with its messages."""

from __future__ import annotations


class UsageError(Exception):
    """A command ends with this message on stderr."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Grammar:
    """The options of a command, from text: `p partition=` takes a value, `nice?` may, `h` or `me` do not."""

    def __init__(self, program: str, text: str, *, permute: bool = True, code: int = 1) -> None:
        self.program = program
        self.code = code
        self.permute = permute
        self.kinds: dict[str, str] = {}  # long name -> "", "=" or "?"
        self.short: dict[str, str] = {}
        for entry in text.split("\n"):
            names = entry.split()
            if not names:
                continue
            name = names[-1].rstrip("=?")
            self.kinds[name] = names[-1][len(name) :]
            for letter in names[:-1]:
                self.short[letter] = name
            if len(name) == 1:
                self.short[name] = name

    def parse(self, argv: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
        """The options in order, and the other arguments."""
        found: list[tuple[str, str]] = []
        rest: list[str] = []
        words = list(argv)
        while words:
            word = words.pop(0)
            if word == "--":
                return found, rest + words
            if word.startswith("--"):
                found.append(self._long(word[2:], words))
            elif word.startswith("-") and word != "-":
                self._cluster(word[1:], words, found)
            elif self.permute:
                rest.append(word)
            else:
                return found, [word, *words]
        return found, rest

    def _long(self, word: str, words: list[str]) -> tuple[str, str]:
        given, equals, value = word.partition("=")
        name = self._full_name(given)
        kind = self.kinds[name]
        if kind == "" and equals:
            raise self._wrong(f"option '--{name}' doesn't allow an argument")
        if kind == "=" and not equals:
            if not words:
                raise self._wrong(f"option '--{name}' requires an argument")
            value = words.pop(0)
        return name, value

    def _full_name(self, given: str) -> str:
        if given in self.kinds:
            return given
        candidates = [name for name in self.kinds if name.startswith(given) and len(name) > 1]
        if not candidates:
            raise self._wrong(f"unrecognized option '--{given}'")
        if len(candidates) > 1:
            possibilities = " ".join(f"'--{name}'" for name in candidates)
            raise self._wrong(f"option '--{given}' is ambiguous; possibilities: {possibilities}")
        return candidates[0]

    def _cluster(self, letters: str, words: list[str], found: list[tuple[str, str]]) -> None:
        while letters:
            letter, letters = letters[0], letters[1:]
            name = self.short.get(letter)
            if name is None:
                raise self._wrong(f"invalid option -- '{letter}'")
            kind = self.kinds[name]
            value = ""
            if kind:
                value, letters = letters, ""
                if kind == "=" and not value:
                    if not words:
                        raise self._wrong(f"option requires an argument -- '{letter}'")
                    value = words.pop(0)
            found.append((name, value))

    def _wrong(self, text: str) -> UsageError:
        hint = "" if self.program == "sacct" else f'\nTry "{self.program} --help" for more information'
        return UsageError(f"{self.program}: {text}{hint}", self.code)
