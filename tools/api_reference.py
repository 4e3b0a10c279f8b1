"""What the API reference needs beyond docstrings: Sphinx's roles as Markdown, and descriptions of pydantic's fields."""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|meth|func|data|attr|mod|exc):`~?([^`]+)`")


class Roles(griffe.Extension):
    """Rewrites every docstring while the sources are read; a field's description becomes one."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Let a field say what it is for, and show its default instead of the call of ``Field``."""
        if attr.value is None or not str(attr.value).startswith("Field("):
            return
        call = ast.parse(str(attr.value), mode="eval").body
        assert isinstance(call, ast.Call)
        given = {item.arg: item.value for item in call.keywords}
        if "description" in given and attr.docstring is None:
            attr.docstring = griffe.Docstring(ast.literal_eval(given["description"]), parent=attr)
        attr.value = ast.unparse(given["default"]) if "default" in given else None

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", obj.docstring.value)
