"""Device filters written wrong: each is refused at its column with what was expected, and nothing costs much."""

import time
from typing import Any

import pytest

from evertunnel.access.conditional.device_filter import compile_device_filter, list_properties
from evertunnel.access.conditional.device_filter_parser import MAXIMUM_DEPTH, MAXIMUM_LENGTH
from evertunnel.access.documents import PolicyError

PATH = "$.conditions.devices.deviceFilter.rule"
TRUE = "device.isCompliant -eq True"
MODEL = 'device.model -eq "x"'


def find_problem(rule: Any) -> str:
    with pytest.raises(PolicyError) as caught:
        compile_device_filter(rule, PATH)
    assert caught.value.path == PATH
    return caught.value.problem


@pytest.mark.parametrize(
    ("rule", "column", "words"),
    [
        ("  ", 3, "expected a property such as device.model, ( or -not, found the end of the rule"),
        ("()", 2, "expected a property such as device.model, ( or -not, found ')'"),
        ('"x" -eq device.model', 1, "expected a property such as device.model, ( or -not, found the text 'x'"),
        ('user.department -eq "x"', 1, "expected a property such as device.model, ( or -not, found 'user.department'"),
        ('-device.model -eq "x"', 1, "expected a property such as device.model, ( or -not, found '-device.model'"),
        ('device.deviceOSType -eq "x"', 1, "'device.deviceOSType' is no property of device filters; known are d"),
        ('device.extensionAttribute16 -eq "x"', 1, "'device.extensionAttribute16' is no property of device filters"),
        ('device. model -eq "x"', 1, "'device.' is no property of device filters"),
        ("device.model", 13, "expected an operator that model allows (-eq, -ne, -startsWith, "),
        ("device.deviceId -like 'x'", 17, "expected an operator that deviceId allows (-eq, -ne, -in, -notIn), found"),
        ("device.model -not null", 14, "expected an operator that model allows"),
        ('device.model "-eq" "x"', 14, "expected an operator that model allows"),
        ('device.model -match "^a"', 14, "-match is for dynamic groups; model allows -eq, "),
        ('device.model -NotMatch "^a"', 14, "-NotMatch is for dynamic groups"),
        ('device.physicalIds -any (_ -eq "x")', 20, "-any is for dynamic groups; physicalIds allows -contains"),
        ('device.systemLabels all "x"', 21, "-all is for dynamic groups"),
        ('device.operatingSystemVersion -ge "10.0"', 31, "-ge is for dynamic groups"),
        ('device.operatingSystemVersion -le "10.0"', 31, "-le is for dynamic groups"),
        ("device.physicalIds -eq null", 20, "expected an operator that physicalIds allows (-contains, -notContains)"),
        ('device.model == "x"', 14, "'=' means nothing in a rule; write -eq or -ne"),
        ('device.model - eq "x"', 14, "expected a name right after the hyphen, such as -eq or -and"),
        ("device.model -eq", 17, "expected a text in quotes, or null, to compare model with, found the end"),
        ("device.model -eq Surface", 18, "expected a text in quotes, or null, to compare model with, found 'Surface'"),
        ("device.model -eq true", 18, "expected a text in quotes, or null, to compare model with, found 'true'"),
        ("device.model -eq -null", 18, "expected a text in quotes, or null, to compare model with, found '-null'"),
        ("device.model -eq $null", 18, "'$' means nothing in a rule; write null, true or false without $"),
        ('device.model -eq ["x"]', 18, "expected a text in quotes, or null, to compare model with, found '['"),
        ("device.model -contains null", 24, "expected a text in quotes to compare model with, found 'null'"),
        ("device.model -eq “x”", 18, "'“' means nothing in a rule; write straight quotes"),
        ('device.model -eq \\"x\\"', 18, "'\\\\' means nothing in a rule; write \" alone"),
        ('device.model -eq `"x`"', 18, "'`' means nothing in a rule; a backtick stands before a quote"),
        ('device.model -eq "x', 18, 'expected a closing " for the text that opens here'),
        ("device.model -eq 'it''s", 18, "expected a closing ' for the text that opens here"),
        ('device.model -eq "x`', 20, 'expected " or ` after a backtick; a backtick itself is written ``'),
        ('device.model -eq "C`n"', 20, 'expected " or ` after a backtick'),
        ('device.model -in "x"', 18, 'expected a list such as ["one", "two"] after -in, found the text'),
        ('device.model -notIn ("x")', 21, 'expected a list such as ["one", "two"] after -notIn, found \'(\''),
        ("device.model -in []", 19, "expected a text in quotes to compare model with, found ']'"),
        ('device.model -in ["x",]', 23, "expected a text in quotes to compare model with, found ']'"),
        ('device.model -in ["x" "y"]', 23, "expected a comma or the ] of the list, found the text 'y'"),
        ('device.model -in ["x"', 22, "expected a comma or the ] of the list, found the end of the rule"),
        ('device.model -in ["x", null]', 24, "expected a text in quotes to compare model with, found 'null'"),
        ('device.deviceId -eq "{0}"', 21, "expected a GUID such as "),
        (f'device.mdmAppId -in ["{"a" * 36}"]', 22, "expected a GUID such as "),
        ('device.trustType -eq "Azure AD"', 22, 'expected "AzureAD" or "ServerAD" or "Workplace", or null, to comp'),
        ('device.deviceOwnership -ne "Corporate"', 28, 'expected "Personal" or "Company", or null, to comp'),
        ('device.profileType -eq "x"', 24, 'expected "RegisteredDevice" or "SecureVM" or "Printer" or "Shared"'),
        ("device.isCompliant -eq yes", 24, "expected True or False, or null, to compare isCompliant with, found 'yes'"),
        ('device.isCompliant -eq "True "', 24, "expected True or False, or null, to compare isCompliant with"),
        (f'{MODEL} "y"', 22, "expected -and, -or or the end of the rule, found the text 'y'"),
        (f"{MODEL} -xor {MODEL}", 22, "expected -and, -or or the end of the rule, found '-xor'"),
        (f"{MODEL})", 21, "expected -and, -or or the end of the rule, found ')'"),
        (f"({MODEL}", 22, "expected -and, -or or the ) for the ( at column 1, found the end of the rule"),
        (f"{MODEL} -or ({MODEL}]", 47, "expected -and, -or or the ) for the ( at column 26, found ']'"),
        (f"{MODEL} -and", 26, "expected a property such as device.model, ( or -not, found the end of the rule"),
        (f"{MODEL} && {MODEL}", 22, "'&' means nothing in a rule; write -and"),
        (f"-not -not {MODEL}", 6, "expected ( or a property such as device.model after -not, found '-not'"),
        (f"{MODEL}\n-or\n  device.x -eq 1", 28, "'device.x' is no property of device filters"),
        (f"{MODEL} ;", 22, "';' means nothing in a rule; write a word, a quoted text, or one of ( ) [ ] ,"),
        (f"{MODEL} \u202e", 22, "'\\u202e' means nothing in a rule"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_column_and_what_was_expected(rule: str, column: int, words: str) -> None:
    assert find_problem(rule).startswith(f"column {column}: {words}")


def test_the_first_of_two_mistakes_is_named() -> None:
    assert find_problem('device.model -eq x -or "').startswith("column 18: ")
    assert find_problem('device.model -eq "x" "y" "').startswith("column 22: ")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (None, "must be a text that is not empty"),
        (7, "must be a text that is not empty"),
        ([MODEL], "must be a text that is not empty"),
        ("", "must be a text that is not empty"),
        ('device.model -eq "\ud800"', "holds half of a surrogate pair, which is no character"),
    ],
)
def test_what_is_no_text_is_no_rule(rule: Any, words: str) -> None:
    assert find_problem(rule) == words


def test_a_rule_has_at_most_3072_characters() -> None:
    assert MAXIMUM_LENGTH == 3072
    shortest = 'device.model -eq ""'
    longest = f'device.model -eq "{"x" * (MAXIMUM_LENGTH - len(shortest))}"'
    assert len(longest) == MAXIMUM_LENGTH
    compile_device_filter(longest, PATH)
    assert find_problem(longest + " ") == "column 3073: the rule has 3073 characters; the limit is 3072"
    assert find_problem("(" * 10**7) == "column 3073: the rule has 10000000 characters; the limit is 3072"


def test_parentheses_are_nested_to_a_limit() -> None:
    deepest = "-not (" * MAXIMUM_DEPTH + TRUE + ")" * MAXIMUM_DEPTH
    assert compile_device_filter(deepest, PATH).matches({"isCompliant": True})
    problem = find_problem(f"-not ({deepest})")
    assert problem == f"column {6 * MAXIMUM_DEPTH + 6}: expected at most {MAXIMUM_DEPTH} parentheses inside each other"
    assert find_problem("(" * MAXIMUM_LENGTH).startswith(f"column {MAXIMUM_DEPTH + 1}: expected at most ")
    # Side by side is not deep.
    compile_device_filter(" or ".join([f"({TRUE})"] * 90), PATH)


def test_what_is_shown_of_a_hostile_rule_is_short_and_escaped() -> None:
    for rule in ('device.model -in "' + "\u202e" * 2000 + '"', f"device.model {'a' * 2000}", "b" * 3000):
        problem = find_problem(rule)
        assert len(problem) < 600
        assert problem.isprintable()


@pytest.mark.parametrize(
    "rule",
    [
        "(" * 3072,
        '"' * 3072,
        "'" * 3071,
        "-" * 3072,
        "a" * 3072,
        " " * 3072,
        '"' + "`" * 3071,
        "-not " * 614,
        "device.model -in [" + "''," * 1017,
        f"{MODEL} -or " * 118,
    ],
    ids=lambda rule: rule[:6],
)
def test_a_long_hostile_rule_is_refused_at_once(rule: str) -> None:
    begin = time.process_time()
    find_problem(rule)
    assert time.process_time() - begin < 0.5


def test_the_longest_rule_lists_its_properties_and_is_asked_fast() -> None:
    compiled = compile_device_filter(" or ".join(['device.model eq "x"'] * 133), PATH)
    assert len(compiled.rule) > 3000
    assert list_properties(compiled) == ["model"]
    begin = time.process_time()
    for _ in range(100):
        assert not compiled.matches({"model": "y" * 100})
    assert time.process_time() - begin < 1
