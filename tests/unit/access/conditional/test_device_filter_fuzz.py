"""Generated device filters say what a slow evaluator of the generated tree says; random text is refused, no more."""

from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from evertunnel.access.conditional.device_filter import compile_device_filter
from evertunnel.access.documents import PolicyError

# Few texts and few properties, so that comparisons come out true often enough.
TEXTS = st.sampled_from(["", "a", "A", "ab", "bA", "a`b", 'say "a"', "it's", "null", "[a], (b)", "Ä", "ä"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=4
)
GUIDS = st.sampled_from(
    [
        "0a1b2c3d-0000-1111-2222-0a1b2c3d4e5f",
        "0A1B2C3D-0000-1111-2222-0A1B2C3D4E5F",
        "ffffffff-1111-2222-3333-0a1b2c3d4e5f",
    ]
)
TRUSTS = st.sampled_from(["AzureAD", "serverad", "ServerAD", "Workplace"])
ALL_TEN = ("eq", "startsWith", "endsWith", "contains", "in")
# property -> the texts it is compared with, and its positive operators.
ASKABLE: dict[str, tuple[st.SearchStrategy[str], tuple[str, ...]]] = {
    "model": (TEXTS, ALL_TEN),
    "extensionAttribute7": (TEXTS, ALL_TEN),
    "deviceId": (GUIDS, ("eq", "in")),
    "trustType": (TRUSTS, ("eq",)),
    "isCompliant": (st.sampled_from(["True", "false"]), ("eq",)),
    "physicalIds": (TEXTS, ("contains",)),
}
NEGATIVE = {
    "eq": "ne",
    "startsWith": "notStartsWith",
    "endsWith": "notEndsWith",
    "contains": "notContains",
    "in": "notIn",
}


@st.composite
def make_comparisons(draw: st.DrawFn) -> tuple[Any, ...]:
    """("compare", property, positive operator, negated, wanted)"""
    name = draw(st.sampled_from(sorted(ASKABLE)))
    texts, operators = ASKABLE[name]
    operator = draw(st.sampled_from(operators))
    wanted: Any = draw(st.lists(texts, min_size=1, max_size=3) if operator == "in" else texts)
    if operator == "eq" and draw(st.integers(0, 4)) == 0:
        wanted = None
    return ("compare", name, operator, draw(st.booleans()), wanted)


TREES = st.recursive(
    make_comparisons(),
    lambda inner: (
        st.tuples(st.just("not"), inner)
        | st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=8,
)
DEVICES = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "model": st.none() | TEXTS,
        "extensionAttribute7": st.none() | TEXTS,
        "deviceId": st.none() | GUIDS,
        "trustType": st.none() | TRUSTS,
        "isCompliant": st.none() | st.booleans() | st.sampled_from(["true", "False"]),
        "physicalIds": st.none() | st.lists(TEXTS, max_size=3),
    },
)


def fold(text: str) -> str:
    """Case away, letter by letter; slow, and independent of the code under test."""
    letters = []
    for letter in text:
        upper = letter.upper()
        keeps = len(upper) > 1 or (ord(letter) > 127) != (ord(upper) > 127)
        letters.append(letter if keeps else upper)
    return "".join(letters)


def is_positive(device: dict[str, Any], name: str, operator: str, wanted: Any) -> bool:
    value = device.get(name)
    managed = str(device.get("isCompliant")).lower() == "true" or str(device.get("trustType")).lower() == "serverad"
    if name.startswith("extension") and not managed:
        value = None
    if wanted is None:
        return value is None
    if value is None:
        return False
    if isinstance(value, list):
        return fold(wanted) in [fold(element) for element in value]
    value = fold(str(value))
    if operator == "in":
        return value in [fold(text) for text in wanted]
    wanted = fold(wanted)
    return {
        "eq": value == wanted,
        "startsWith": value[: len(wanted)] == wanted,
        "endsWith": value[len(value) - len(wanted) :] == wanted if len(wanted) <= len(value) else False,
        "contains": value.find(wanted) >= 0,
    }[operator]


def evaluate(tree: tuple[Any, ...], device: dict[str, Any]) -> bool:
    if tree[0] == "compare":
        _, name, operator, negated, wanted = tree
        return is_positive(device, name, operator, wanted) != negated
    if tree[0] == "not":
        return not evaluate(tree[1], device)
    verdicts = [evaluate(part, device) for part in tree[1]]
    return all(verdicts) if tree[0] == "and" else any(verdicts)


class Printer:
    """Writes a tree as one of the many texts that mean it: parentheses only where needed, or anywhere."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def pick(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def write_word(self, word: str) -> str:
        return self.pick("-", "", "\N{EN DASH}") + self.pick(word, word.lower(), word.upper())

    def write_text(self, text: str) -> str:
        if self.pick('"', "'") == "'":
            return "'" + text.replace("'", "''") + "'"
        return '"' + text.replace("`", "``").replace('"', '`"') + '"'

    def write_value(self, name: str, wanted: Any) -> str:
        if wanted is None:
            return self.pick("null", "NULL")
        if isinstance(wanted, list):
            return "[" + self.pick(",", " , ").join(map(self.write_text, wanted)) + "]"
        if name == "isCompliant" and self.draw(st.booleans()):
            return str(wanted)
        return self.write_text(wanted)

    def write(self, tree: tuple[Any, ...], level: int = 0) -> str:
        """`level` is what stands around: 0 nothing or -or, 1 -and, 2 -not."""
        space = self.pick(" ", "  ", "\n")
        if tree[0] == "compare":
            _, name, operator, negated, wanted = tree
            word = self.write_word(NEGATIVE[operator] if negated else operator)
            own = 3
            text = f"device.{self.pick(name, name.lower())}{space}{word}{space}{self.write_value(name, wanted)}"
        elif tree[0] == "not":
            own = 1
            text = f"{self.write_word('not')}{space}{self.write(tree[1], 2)}"
        else:
            own = 1 if tree[0] == "and" else 0
            joint = f"{space}{self.write_word(tree[0])}{space}"
            # A part of the same kind needs no parentheses: both are associative.
            text = joint.join(self.write(part, own) for part in tree[1])
        return f"({text})" if own < level or self.draw(st.integers(0, 5)) == 0 else text


@given(TREES, st.data(), st.lists(DEVICES, min_size=1, max_size=5))
def test_a_generated_rule_says_what_its_tree_says(
    tree: tuple[Any, ...], data: st.DataObject, devices: list[dict[str, Any] | None]
) -> None:
    compiled = compile_device_filter(Printer(data.draw).write(tree), "$")
    for device in devices:
        verdict = compiled.matches(device)
        event(f"{verdict}")
        assert verdict is evaluate(tree, device or {}), compiled.rule


def refuse_or_answer(rule: str) -> None:
    try:
        compiled = compile_device_filter(rule, "$")
    except PolicyError as error:
        refusal = str(error)
    else:
        event("taken")
        assert isinstance(compiled.matches(None), bool)
        return
    event("refused")
    assert len(refusal) < 700
    assert refusal.isprintable()


@given(st.text(st.characters(), max_size=60) | st.text("()[]'\"`,-–.\\ device", max_size=60))
def test_random_text_is_refused_or_answers(rule: str) -> None:
    refuse_or_answer(rule)


PIECES = st.sampled_from(
    ["device.model", "device.isCompliant", "device.physicalIds", "device.", "-eq", "ne", "-in", "–contains", '"a"',
     "'b'", '"', "'", "`", "null", "True", "(", ")", "[", "]", ",", "-and", "or", "-not", "-", "-match", "\u202e", "\0"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14), st.sampled_from([" ", ""]))
def test_random_pieces_of_rules_are_refused_or_answer(pieces: list[str], space: str) -> None:
    refuse_or_answer(space.join(pieces))


@given(TREES, st.data())
def test_a_damaged_rule_is_refused_or_answers(tree: tuple[Any, ...], data: st.DataObject) -> None:
    rule = Printer(data.draw).write(tree)
    start = data.draw(st.integers(0, len(rule)))
    end = data.draw(st.integers(start, min(start + 3, len(rule))))
    refuse_or_answer(rule[:start] + data.draw(PIECES | st.just("")) + rule[end:])
