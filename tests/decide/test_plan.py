"""The plan as a value: stored, fingerprinted and found by address."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from plans import plans, with_policy
from told import PIVOT, after, each, go, parallel, plan, sequence, step

from amends.decide.plan import (
    EachNode,
    Marked,
    Payload,
    Plan,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
    from_json,
    group_of,
    index_of,
    item_address,
    stem_of,
    walk,
)
from amends.decide.policy import Policy


@given(plans())
def test_a_plan_comes_back_from_its_json_as_it_was(plan: Plan) -> None:
    back = from_json(plan.json)

    assert back == plan
    assert back.json == plan.json
    assert back.fingerprint == plan.fingerprint


@given(plans(), plans())
def test_equal_plans_have_one_fingerprint_and_others_have_others(one: Plan, other: Plan) -> None:
    assert (one.fingerprint == other.fingerprint) == (one == other)


def test_plans_that_differ_in_anything_differ_in_their_fingerprint() -> None:
    base = plan(step("a"), WhenNode("if", "function f", step("b")), each(step("e")), PIVOT, after("c"), deadline=9.0)
    others = [
        replace(base, name="other"),
        replace(base, version="2"),
        replace(base, output="a"),
        replace(base, deadline=None),
        replace(base, input="int"),
        with_policy(base, Policy(7)),
        replace(base, root=SequenceNode(base.root.nodes[1:])),
        replace(base, root=SequenceNode((base.root.nodes[1], base.root.nodes[0], *base.root.nodes[2:]))),
    ]

    assert len({each.fingerprint for each in (base, *others)}) == len(others) + 1


def test_equal_numbers_are_written_alike() -> None:
    whole = plan(StepNode("a", timeout=30, retry=Policy(first_delay=1, cap=2.5)), deadline=60)
    real = plan(StepNode("a", timeout=30.0, retry=Policy(first_delay=1.0, cap=2.5)), deadline=60.0)

    assert whole == real
    assert whole.fingerprint == real.fingerprint
    assert '"cap":2.5' in real.json


def test_a_fingerprint_is_32_hex_digits_and_the_json_is_canonical() -> None:
    given = plan(step("a"))

    assert len(given.fingerprint) == 32
    assert int(given.fingerprint, 16) >= 0
    assert given.json == json.dumps(json.loads(given.json), sort_keys=True, separators=(",", ":"))


def test_a_plan_that_holds_a_function_cannot_be_written() -> None:
    wrong = plan(StepNode("a", work=test_equal_numbers_are_written_alike))  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="a plan holds names and numbers, not <function"):
        wrong.json  # noqa: B018  # it is computed when it is asked for


@pytest.mark.parametrize(
    "text",
    [
        '{"name":"a","root":{"kind":"step","address":"a"}}',
        '{"name":"a","root":{"kind":"sequence","nodes":[{"kind":"dance"}]}}',
        '{"name":"a","root":{"kind":"sequence","nodes":[],"rhythm":3}}',
        '{"name":"a","root":{"kind":"sequence","nodes":[]},"rhythm":3}',
        '{"name":"a","root":{"kind":"sequence","nodes":[{"kind":"step","address":"a","place":"beside"}]}}',
        '{"name":"a"}',
        "",
    ],
)
def test_a_text_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_json(text)


def test_a_plan_written_without_newer_fields_is_read_with_their_defaults() -> None:
    text = '{"name":"a","root":{"kind":"sequence","nodes":[{"kind":"step","address":"a"}]}}'

    assert from_json(text) == Plan("a", SequenceNode((StepNode("a"),)))


def test_nodes_are_found_by_their_address() -> None:
    inner = each(step("e"))
    nodes = (step("a"), parallel(sequence(WhenNode("if", "function f", inner, WaitNode("w"))), SleepNode("nap", 1.0)))
    given = plan(*nodes, go(), after("z"))

    assert given.node("a") == step("a")
    assert given.node("e") == inner
    assert given.node("e[12]") == inner.step
    assert given.step("e[0]") == inner.step
    assert given.pivot == go()
    assert given.waits == (WaitNode("w"),)
    assert set(given.by_address) == {"a", "if", "e", "w", "nap", "go", "z"}


@pytest.mark.parametrize("address", ["nothing", "", "]", "e]", "a[0]", "nothing[0]"])
def test_an_address_at_which_nothing_stands_gives_nothing(address: str) -> None:
    given = plan(step("a"), each(step("e")))

    assert given.node(address) is None
    with pytest.raises(KeyError):
        given.step(address)


def test_what_is_no_step_is_no_step() -> None:
    with pytest.raises(KeyError):
        plan(WaitNode("w")).step("w")


def test_a_plan_without_a_pivot_step_has_none() -> None:
    assert plan(step("a"), PIVOT, after("z")).pivot is None


def test_the_address_of_an_item_is_taken_apart_as_it_was_put_together() -> None:
    address = item_address("a[1]/b", 12)

    assert address == "a[1]/b[12]"
    assert (group_of(address), index_of(address), stem_of(address)) == ("a[1]/b", 12, "a[1]/b")
    assert stem_of("a") == "a"


@pytest.mark.parametrize("address", ["a]", "a[]", "a[-1]", "a[x]", "a[1_0]", "a[" + 5_000 * "1" + "]"])
def test_what_is_no_items_address_has_no_position(address: str) -> None:
    with pytest.raises(LookupError, match="no item's address"):
        index_of(address)


def test_a_walk_meets_every_node_once_in_flow_order() -> None:
    given = plan(
        step("a"), parallel(step("b"), sequence(step("c"))), WhenNode("if", "function f", step("d"), step("e"))
    )

    names = [getattr(node, "address", "") for node in walk(given.root)]

    assert [name for name in names if name] == ["a", "b", "c", "if", "d", "e"]


def test_a_for_each_stands_for_its_items() -> None:
    node = EachNode("e", step("e"), "function f")

    assert list(walk(node)) == [node]


def test_secrets_are_found_by_payload_and_address_and_an_item_has_those_of_all_items() -> None:
    marks = (
        Marked("input", "", ("/card",)),
        Marked("result", "pay", ("/token", "/pin")),
        Marked("result", "each", ("",)),
    )
    marked = replace(plan(step("pay"), EachNode("each", step("each"), "function f")), secrets=marks)

    assert marked.secrets_in(Payload.INPUT) == ("/card",)
    assert marked.secrets_in(Payload.RESULT, "pay") == ("/token", "/pin")
    assert marked.secrets_in(Payload.RESULT, "each[7]") == ("",)
    assert marked.secrets_in(Payload.COMMAND, "pay") == ()


def test_a_plan_with_secrets_comes_back_as_it_was_and_is_another_plan() -> None:
    plain = plan(step("pay"))
    marked = replace(plain, secrets=(Marked("input", "", ("/card",)),))

    assert from_json(marked.json) == marked
    assert marked.fingerprint != plain.fingerprint
    assert "secrets" not in plain.json, "what was stored before there were marks is what it was"
