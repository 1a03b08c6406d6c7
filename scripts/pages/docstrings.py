"""What docstrings say, by their parts."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap


def doc(thing: object) -> str:
    """Return a docstring without its sections (`Attributes:`, `Raises:`)."""
    return re.split(r"\n\s*(?:Attributes|Args|Raises|Source):", inspect.getdoc(thing) or "")[0].strip()


def attributes_of(thing: object) -> dict[str, str]:
    """Return what the section `Attributes:` of a docstring says of each name."""
    _, _, section = (inspect.getdoc(thing) or "").partition("Attributes:\n")
    entries = re.findall(r"^    ([\w, ]+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name.strip(): " ".join(text.split()) for names, text in entries for name in names.split(",")}


def member_docs(owner: type) -> dict[str, str]:
    """Return the string that follows each assignment in a class: how members of an enum or struct are documented."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
            continue
        if isinstance(before, ast.Assign | ast.AnnAssign):
            target = before.targets[0] if isinstance(before, ast.Assign) else before.target
            found[ast.unparse(target)] = " ".join(str(after.value.value).split())
    return found
