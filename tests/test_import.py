"""What `import amends` brings along, and what it leaves for later.

Guarantees: each case looks at a fresh interpreter.
Must not: measure time; `bench/import_time.py` does.
"""

from __future__ import annotations

import json
import subprocess
import sys

RUNS = ("amends.run", "amends.store", "asyncio", "ssl", "socket")
NEVER = ("rich", "click", "pydantic", "attr", "attrs", "uvloop", "pytest")


def loaded_by(statement: str) -> set[str]:
    """The modules that a statement loads in an interpreter that has loaded nothing."""
    report = "print(json.dumps(list(set(sys.modules) - before)))"
    script = f"import json, sys; before = set(sys.modules); {statement}; {report}"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    found: list[str] = json.loads(result.stdout)
    return set(found)


def third_party(modules: set[str]) -> set[str]:
    """The top names among modules that are not Python's own. `_…`: what editable installs bring."""
    tops = {module.partition(".")[0] for module in modules}
    return {top for top in tops if top not in sys.stdlib_module_names and not top.startswith("_")}


BY_MSGSPEC = third_party(loaded_by("import msgspec"))  # itself, and what it takes along where it is installed


def test_importing_amends_brings_nothing_but_msgspec_beyond_the_standard_library() -> None:
    loaded = loaded_by("import amends")

    assert third_party(loaded) - BY_MSGSPEC == {"amends"}


def test_importing_the_orchestrator_brings_nothing_but_msgspec_either() -> None:
    loaded = loaded_by("from amends import Orchestrator, Saga, Settings, step")

    assert third_party(loaded) - BY_MSGSPEC == {"amends"}
    assert loaded.isdisjoint(NEVER)


def test_a_module_of_definitions_does_not_load_what_runs_them() -> None:
    loaded = loaded_by("from amends import Reject, Resource, Retry, Saga, parallel, pivot, step")

    assert not [module for module in loaded for part in RUNS if module == part or module.startswith(f"{part}.")]


def test_every_public_name_is_there_when_it_is_asked_for() -> None:
    loaded = loaded_by("import amends; [getattr(amends, name) for name in amends.__all__]; from amends import *")

    assert "amends.run.orchestrator" in loaded


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    import amends

    assert not hasattr(amends, "Saag")
    assert set(amends.__all__) <= set(dir(amends))
