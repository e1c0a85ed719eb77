"""Print how dense the code is: AST nodes per code line, lengths of files and bodies, branches.

    python benchmarks/code_metrics.py [FOLDER ...]

A code line is a line that holds code: no blank line, comment or docstring. A body is a function
without its docstring. A branch is an `if`, a loop, a `with`, a conditional expression, a boolean
operator, an exception handler, a `match` or a loop of a comprehension.
"""

import argparse
import ast
import io
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BRANCHES = (
    ast.If,
    ast.For,
    ast.While,
    ast.With,
    ast.IfExp,
    ast.BoolOp,
    ast.Match,
    ast.ExceptHandler,
    ast.comprehension,
)
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Function:
    """A function of a file: where it is, the lines of its body, and its branches."""

    place: str
    lines: int
    branches: int


@dataclass(frozen=True)
class File:
    """A file: its path, all its lines, its code lines, its AST nodes, and its functions."""

    path: Path
    lines: int
    code_lines: int
    nodes: int
    functions: tuple[Function, ...]


def measure(path: Path) -> File:
    """Measure one file."""
    source = path.read_text()
    tree = ast.parse(source)
    return File(
        path=path,
        lines=len(source.splitlines()),
        code_lines=len(_code_lines(source) - _docstring_lines(tree)),
        nodes=sum(1 for _ in ast.walk(tree)),
        functions=tuple(_functions(tree, path)),
    )


def measure_all(folders: Iterable[Path]) -> list[File]:
    """Measure every Python file below some folders."""
    return [measure(path) for folder in folders for path in sorted(folder.rglob("*.py"))]


def density(files: Iterable[File]) -> float:
    """AST nodes per code line, over all files."""
    files = list(files)
    return sum(file.nodes for file in files) / sum(file.code_lines for file in files)


def _code_lines(source: str) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _docstring_lines(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and _is_docstring(node):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _functions(tree: ast.AST, path: Path) -> Iterable[Function]:
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            body = node.body[1:] if _is_docstring(node.body[0]) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            branches = sum(isinstance(one, BRANCHES) for one in ast.walk(node))
            yield Function(f"{path}:{node.lineno} {node.name}", lines, branches)


def main() -> None:
    """Print the metrics of some folders."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[ROOT / "espalier"])
    files = measure_all(parser.parse_args().folders)
    functions = [function for file in files for function in file.functions]
    longest_file = max(files, key=lambda file: file.lines)
    longest_body = max(functions, key=lambda function: function.lines)
    branching = [function for function in functions if function.branches > 10]
    print(f"{density(files):.2f} AST nodes per code line, over {len(files)} files")
    print(f"longest file: {longest_file.lines} lines, {longest_file.path}")
    print(f"longest body: {longest_body.lines} lines, {longest_body.place}")
    print(f"functions with more than ten branches: {len(branching)}")
    for function in sorted(branching, key=lambda function: -function.branches):
        print(f"  {function.branches} {function.place}")


if __name__ == "__main__":
    main()
