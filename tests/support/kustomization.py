"""What a folder of kubernetes/ makes, read as kustomize reads it, for an API server of any age.

Resources are handed over as they stand. Patches are not merged here: the API server does that itself, by the strategic
merge that kustomize takes from it. Whatever else kustomize could do is refused, so that nothing goes unseen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from tests.support.kubernetes_api import STRATEGIC_PATCH, Json, KubernetesApi

APPLY_PATCH = "application/apply-patch+yaml"
PLURALS = {"NetworkPolicy": "networkpolicies"}
UNDERSTOOD = {"apiVersion", "kind", "resources", "patches"}


@dataclass(frozen=True, slots=True)
class Kustomization:
    """What is applied, in order, and how it is changed afterwards."""

    resources: tuple[Json, ...]
    patches: tuple[Json, ...]


def built(folder: Path) -> Kustomization:
    """Return what the folder makes."""
    (document,) = _documents(folder / "kustomization.yaml")
    assert document.keys() <= UNDERSTOOD, f"{folder}: {document.keys() - UNDERSTOOD}"
    parts = [_part(folder / name) for name in document["resources"]]
    patches = [patch for each in document.get("patches", []) for patch in _documents(folder / _only_path(each))]
    return Kustomization(
        tuple(each for part in parts for each in part.resources),
        (*(each for part in parts for each in part.patches), *patches),
    )


def _part(path: Path) -> Kustomization:
    return built(path) if path.is_dir() else Kustomization(tuple(_documents(path)), ())


def _only_path(patch: Json) -> str:
    assert patch.keys() == {"path"}
    return str(patch["path"])


def _documents(path: Path) -> Iterator[Json]:
    for document in YAML(typ="safe").load_all(path):
        assert isinstance(document, dict), path
        yield document


def path_of(document: Json) -> str:
    """Return the address of an object at the API server."""
    group, kind, about = document["apiVersion"], document["kind"], document["metadata"]
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    namespace = f"/namespaces/{about['namespace']}" if "namespace" in about else ""
    return f"{root}{namespace}/{plural}/{about['name']}"


def apply(api: KubernetesApi, document: Json) -> Json:
    """Have the server apply an object, which refuses fields that it does not know, and return what it keeps."""
    path = f"{path_of(document)}?fieldManager=kustomize&force=true"
    return api.request("PATCH", path, document, content=APPLY_PATCH).expect(200, 201)


def change(api: KubernetesApi, patch: Json) -> None:
    """Have the server change an object by a patch of kustomize."""
    if patch.get("$patch") == "delete":
        api.delete(path_of(patch))
    else:
        api.patch(path_of(patch), patch, content=STRATEGIC_PATCH)


def missing(wanted: object, kept: object, where: str = "") -> Iterator[str]:
    """Yield where something that was written is not in what the server keeps."""
    match wanted, kept:
        case dict(), dict():
            for name, value in wanted.items():
                yield from missing(value, kept.get(name), f"{where}.{name}")
        case list(), list() if len(wanted) == len(kept):
            for index, (each, other) in enumerate(zip(wanted, kept, strict=True)):
                yield from missing(each, other, f"{where}[{index}]")
        case _ if wanted != kept and not (wanted in ([], {}) and kept is None):
            yield f"{where}: {wanted!r} became {kept!r}"
