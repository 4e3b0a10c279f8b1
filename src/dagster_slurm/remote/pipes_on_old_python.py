"""``dagster_pipes`` on Python 3.6 to 3.9, which login nodes still have: only its annotations and a few names need 3.10.

The source is changed as it is loaded: annotations go, and names that the standard library does not have yet get
stand-ins. Nothing else of the interpreter is touched.
"""

import ast
import contextlib
import importlib.machinery
import sys
import types
import typing
from typing import Any, Dict, Union


class Loader(importlib.machinery.SourceFileLoader):
    """Loads the bundled copy."""

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> types.CodeType:
        """Compile changed source."""
        tree = ast.fix_missing_locations(_Older().visit(ast.parse(data)))
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile afresh: a cached file may hold the code as it was before the change."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run it, with the stand-ins that it needs."""
        module.__dict__.update(_stand_ins())
        super().exec_module(module)


class _Literals:
    """Stands in for ``Literal``: keeps its arguments for ``get_args``."""

    def __init__(self, args: Any = ()) -> None:
        self.__args__ = args

    def __getitem__(self, args: Any) -> "_Literals":
        return _Literals(args if isinstance(args, tuple) else (args,))


class _TypedDict(dict):  # type: ignore[type-arg]
    """Stands in for ``TypedDict``: a plain dict at run time, as that is."""

    def __init_subclass__(cls, **_: Any) -> None:
        super().__init_subclass__()


class _NullContext:
    """Stands in for ``nullcontext``."""

    def __init__(self, enter_result: Any = None) -> None:
        self._enter_result = enter_result

    def __enter__(self) -> Any:
        return self._enter_result

    def __exit__(self, *_: Any) -> None:
        return None


def _final(decorated: Any) -> Any:
    return decorated


def _get_args(annotation: Any) -> Any:
    return getattr(annotation, "__args__", ())


def _stand_ins() -> Dict[str, Any]:
    """Return what this interpreter's ``typing`` and ``contextlib`` lack."""
    ours: Dict[str, Any] = {
        "TypeAlias": object,
        "Literal": _Literals(),
        "TypedDict": _TypedDict,
        "final": _final,
        "get_args": _get_args,
        "nullcontext": _NullContext,
    }
    return {name: it for name, it in ours.items() if not (hasattr(typing, name) or hasattr(contextlib, name))}


class _Older(ast.NodeTransformer):
    """Rewrites what is too new."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        """Leave out names that have a stand-in; take types that can be subscripted."""
        node.names = [alias for alias in node.names if alias.name not in _stand_ins()]
        if node.module == "collections.abc" and sys.version_info < (3, 9):
            node.module = "typing"
        return node if node.names else None

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Drop an argument's annotation."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop a function's annotation."""
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Drop a function's annotation."""
        return self._function(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Keep that there is an annotation, not which one; an alias of types is not needed either."""
        if isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias":
            node.value = ast.Name("object", ast.Load())
        node.annotation = ast.Name("object", ast.Load())
        return self.generic_visit(node)

    def _function(self, node: Union[ast.FunctionDef, ast.AsyncFunctionDef]) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)
