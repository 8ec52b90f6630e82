"""F59, X1, X17: what the source may import and call: nothing that makes code of data, and nothing that compares secrets
in a time that tells.

`tests/test_tidy.py` forbids the usual decoders by name; here everything that runs or loads code is listed, and why it
may.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from security_scene import Nodes, nodes_of, source

NEVER = frozenset(  # no module of ours imports one of these, in a function neither
    {
        *("pickle", "_pickle", "cPickle", "marshal", "shelve", "dbm", "copyreg", "dill", "cloudpickle", "jsonpickle"),
        *(
            "yaml",
            "ruamel",
            "code",
            "codeop",
            "runpy",
            "pty",
            "imp",
            "xml",
            "xmlrpc",
            "plistlib",
            "telnetlib",
        ),
    }
)
BUILT_IN = frozenset({"eval", "exec", "compile", "__import__", "execfile", "input", "breakpoint"})
RUNS = frozenset({"system", "popen", "Popen", "create_subprocess_exec", "create_subprocess_shell"})
LOADS = frozenset(
    {"import_module", "find_spec", "spec_from_file_location", "resolve_name", "load_module", "find_loader"}
)

# path: call -> why no data from outside can name what is loaded or run
ALLOWED = {
    "__init__.py: import_module(_LATER[name])": "a table of our own modules",
    "operate/cli/app.py: import_module(name)": "MODULE:NAME, by whoever runs the command",
    "operate/cli/app.py: import_module('django')": "a constant",
    "operate/cli/demo.py: find_spec(name)": "a constant",
    "operate/cli/loops.py: find_spec('uvloop')": "a constant",
    "operate/cli/loops.py: import_module('uvloop')": "a constant",
    "operate/cli/verbs.py: find_spec(entry.place.partition(':')[0])": "a table of our own modules",
    "operate/cli/verbs.py: import_module(module)": "a table of our own modules",
    "operate/cli/dashboard.py: find_spec(name)": "a table of constants",
    "operate/web/answering.py: find_spec(PAGES)": "a constant",
    "operate/web/answering.py: find_spec('jinja2')": "a constant",
    "operate/web/answering.py: import_module(PAGES)": "a constant",
    "operate/web/app.py: import_module(PAGES)": "a constant",
    "transport/nats_options.py: find_spec('nkeys')": "a constant",
    "transport/open.py: import_module(f'amends.transport.{module}')": "a table of our own modules",
    "operate/demo/process.py: create_subprocess_exec": "the demo's own workers",
    "testing/__init__.py: import_module(f'amends.testing.{_MODULES[name]}')": "a table of our own modules",
    "testing/transport_suite/child.py: Popen": "a test's own process",
}
RANDOM = {  # random numbers that anybody may guess
    "operate/alert.py": "the pause before an alert is sent again",
    "operate/demo/weather.py": "a story",
    "run/chance.py": "jitter, and ids that are no secrets",
    "transport/nats_link.py": "the pause before connecting again",
    "transport/rabbitmq_link.py": "the pause before connecting again",
    "transport/redis_link.py": "the pause before connecting again",
}


def imported(nodes: Nodes) -> Iterator[str]:
    """The modules that are imported, wherever."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def suspicious(nodes: Nodes) -> Iterator[str]:
    """The calls that run or load code."""
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        bare = isinstance(node.func, ast.Name)
        if (bare and name in BUILT_IN) or name in LOADS:
            yield f"{name}({ast.unparse(node.args[0]) if node.args else ''})"
        elif name in RUNS:
            yield name


def test_no_module_imports_a_decoder_that_runs_code() -> None:
    found = {
        f"{name}: {one}" for name, nodes in source().items() for one in imported(nodes) if one.split(".")[0] in NEVER
    }

    assert found == set()


def test_what_loads_or_runs_code_is_listed_with_its_reason() -> None:
    found = {f"{name}: {call}" for name, nodes in source().items() for call in suspicious(nodes)}

    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    "code",
    [
        "eval(data)",
        "exec(data)",
        "importlib.import_module(name)",
        "os.system(x)",
        "subprocess.Popen(x)",
        "__import__(n)",
    ],
)
def test_a_call_that_makes_code_of_data_is_found(code: str) -> None:
    assert list(suspicious(nodes_of(code)))


def test_an_import_in_a_function_is_found() -> None:
    assert list(imported(nodes_of("def f():\n    import pickle\n"))) == ["pickle"]


# Secrets


NO_SECRETS = {
    "born == _TOKEN",  # `lives.py`: a mark that tells a process from another with its number
    "name == 'token'",  # `guard.py`: the name of a form's field
}


def compared(nodes: Nodes) -> Iterator[str]:
    """Comparisons for equality of what is called a token, a secret or a MAC."""
    for node in nodes:
        if isinstance(node, ast.Compare) and any(isinstance(op, (ast.Eq, ast.NotEq)) for op in node.ops):
            words = ast.unparse(node).lower()
            if any(word in words for word in ("token", "secret", "digest", "mac", "password")):
                yield ast.unparse(node)


def test_tokens_are_compared_in_constant_time_and_nowhere_else() -> None:
    calls = [ast.unparse(node.func) for node in source()["run/tokens.py"] if isinstance(node, ast.Call)]

    assert calls.count("hmac.compare_digest") == 1
    found = {text for name, nodes in source().items() for text in compared(nodes) if not name.startswith("testing/")}
    assert found == NO_SECRETS
    assert list(compared(nodes_of("given_mac == wanted")))


def test_secrets_are_made_by_secrets_and_what_is_random_otherwise_is_listed() -> None:
    made = {
        name
        for name, nodes in source().items()
        if "random" in list(imported(nodes)) and not name.startswith("testing/")
    }
    keys = ast.unparse(source()["run/remote.py"][0])

    assert made == RANDOM.keys()
    assert "secrets.token_bytes(SECRET_BYTES)" in keys
