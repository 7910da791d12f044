"""Device filters: every production of the grammar, every property and operator, and every way to write one wrong."""

from typing import Any

import pytest

from evertunnel.access.conditional.device_filter import (
    DeviceFilter,
    DeviceProperties,
    compile_device_filter,
    list_properties,
)
from evertunnel.access.documents import PolicyError

PATH = "$.conditions.devices.deviceFilter.rule"
GUID = "0a1b2c3d-0000-1111-2222-0a1b2c3d4e5f"
OTHER_GUID = "ffffffff-0000-1111-2222-0a1b2c3d4e5f"
INTUNE = "0000000a-0000-0000-c000-000000000000"
# A hybrid-joined laptop, as the directory and Intune describe it.
LAPTOP: DeviceProperties = {
    "deviceId": GUID,
    "displayName": "LAPTOP-1",
    "deviceOwnership": "Company",
    "enrollmentProfileName": "AutoPilot Profile",
    "isCompliant": True,
    "manufacturer": "Contoso",
    "mdmAppId": INTUNE,
    "model": "Surface Laptop 5",
    "operatingSystem": "Windows",
    "operatingSystemVersion": "10.0.22000",
    "physicalIds": ["[ZTDId]:7", "[OrderId]:sales"],
    "profileType": "RegisteredDevice",
    "systemLabels": ("M365Managed",),
    "trustType": "ServerAD",
    **{f"extensionAttribute{number}": f"value {number}" for number in range(1, 16)},
}
TEXT_PROPERTIES = [
    "displayName",
    "enrollmentProfileName",
    "manufacturer",
    "model",
    "operatingSystem",
    "operatingSystemVersion",
    *(f"extensionAttribute{number}" for number in range(1, 16)),
]


def compile_rule(rule: str) -> DeviceFilter:
    return compile_device_filter(rule, PATH)


def match(rule: str, device: DeviceProperties | None = LAPTOP) -> bool:
    return compile_rule(rule).matches(device)


def find_problem(rule: Any) -> str:
    with pytest.raises(PolicyError) as caught:
        compile_device_filter(rule, PATH)
    assert caught.value.path == PATH
    return caught.value.problem


# The productions.


def test_a_rule_may_be_one_comparison() -> None:
    assert match('device.model -eq "Surface Laptop 5"')
    assert not match('device.model -eq "Surface"')


def test_or_is_true_when_one_part_is() -> None:
    assert match('device.model -eq "x" -or device.model -eq "y" -or device.model -contains "laptop"')
    assert not match('device.model -eq "x" -or device.model -eq "y"')


def test_and_is_true_when_all_parts_are() -> None:
    both = 'device.operatingSystem -eq "Windows" -and device.isCompliant -eq True'
    assert match(f'{both} -and device.trustType -eq "ServerAD"')
    assert not match(f'{both} -and device.trustType -eq "AzureAD"')


def test_not_turns_a_comparison_or_parentheses_around() -> None:
    assert not match('-not device.trustType -eq "ServerAD"')
    assert match('-not (device.trustType -eq "AzureAD" -or device.trustType -eq "Workplace")')
    assert match('-not (-not (device.trustType -eq "ServerAD"))')


TRUE, FALSE = "device.isCompliant -eq True", "device.isCompliant -eq False"


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        (f"{TRUE} -or {FALSE} -and {FALSE}", True),
        (f"({TRUE} -or {FALSE}) -and {FALSE}", False),
        (f"{FALSE} -and {FALSE} -or {TRUE}", True),
        (f"{FALSE} -and ({FALSE} -or {TRUE})", False),
        (f"-not {TRUE} -or {TRUE}", True),
        (f"-not ({TRUE} -or {TRUE})", False),
        (f"-not {FALSE} -and {FALSE}", False),
        (f"-not ({FALSE} -and {FALSE})", True),
        (f"{TRUE} -and -not {FALSE}", True),
    ],
)
def test_not_binds_tighter_than_and_and_and_tighter_than_or(rule: str, verdict: bool) -> None:
    assert match(rule) is verdict


@pytest.mark.parametrize(
    "rule",
    [
        'device.model eq "x" or not device.isCompliant eq false and device.model notin ["y"]',
        'DEVICE.MODEL -EQ "X" -OR -NOT DEVICE.ISCOMPLIANT -EQ FALSE -AND DEVICE.MODEL -NOTIN ["Y"]',
        'device.model –eq "x" –or –not device.isCompliant –eq False –and device.model –notIn ["y"]',
        '\t(device.model-eq"x")\r\n-or(-not(device.isCompliant -eq False)-and device.model\u00a0-notIn[ "y" ])  ',
    ],
    ids=["without hyphens", "other case", "with dashes", "other white space"],
)
def test_hyphens_case_and_white_space_do_not_matter(rule: str) -> None:
    assert match(rule)
    assert not match(rule, {"model": "y", "isCompliant": True})
    assert list_properties(compile_rule(rule)) == ["model", "isCompliant"]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"Sales"', "Sales"),
        ("'Sales'", "Sales"),
        ('"a `"quoted`" word"', 'a "quoted" word'),
        ('"a ``tick"', "a `tick"),
        ("'it''s'", "it's"),
        ("'a \"quoted\" word'", 'a "quoted" word'),
        ("'a `tick'", "a `tick"),
        ('"it\'s"', "it's"),
        ("''''", "'"),
        ('""', ""),
        ('"C:\\temp"', "C:\\temp"),
        ('"a -or (b) [c], device.model"', "a -or (b) [c], device.model"),
        ('"null"', "null"),
        ('"Zürich–東京"', "Zürich–東京"),
    ],
)
def test_a_text_is_quoted_and_escaped(written: str, text: str) -> None:
    assert match(f"device.model -eq {written}", {"model": text})
    assert match(f"device.model -in ['x', {written}]", {"model": text})
    assert not match(f"device.model -eq {written}", {"model": text + "."})


def test_a_list_has_one_text_or_more_in_either_quotes() -> None:
    assert match('device.model -in ["surface laptop 5"]')
    assert match("""device.model -in ["x",'SURFACE LAPTOP 5' , "y"]""")


def test_case_of_texts_does_not_count_and_look_alikes_do() -> None:
    assert match('device.displayName -eq "ÄÖ straße"', {"displayName": "äö STRAßE"})
    assert not match('device.displayName -eq "SAW"', {"displayName": "\N{LATIN SMALL LETTER LONG S}aw"})
    assert not match('device.displayName -eq "KIOSK"', {"displayName": "\N{KELVIN SIGN}iosk"})
    # A letter whose upper case is two characters stays one.
    assert not match('device.displayName -contains "\u030c"', {"displayName": "\N{LATIN SMALL LETTER J WITH CARON}"})
    assert "column 23" in find_problem('device.trustType -eq  "Wor\N{KELVIN SIGN}place"')


# The properties. Per property: a value that matches the laptop and one that does not.

VALUES = {
    "deviceId": (f'"{GUID.upper()}"', f'"{OTHER_GUID}"'),
    "deviceOwnership": ('"company"', '"Personal"'),
    "isCompliant": ('"true"', '"False"'),
    "mdmAppId": (f'"{INTUNE}"', f'"{OTHER_GUID}"'),
    "physicalIds": ('"[ztdid]:7"', '"[ZTDId]"'),
    "profileType": ('"registeredDevice"', '"Printer"'),
    "systemLabels": ('"m365managed"', '"M365"'),
    "trustType": ('"serverAd"', '"AzureAD"'),
    **{name: (f'"{LAPTOP[name]}"', '"other"') for name in TEXT_PROPERTIES},
}
PAIRS = {"eq": "ne", "startsWith": "notStartsWith", "endsWith": "notEndsWith", "contains": "notContains", "in": "notIn"}
ALLOWED = {
    "deviceId": ["eq", "in"],
    "deviceOwnership": ["eq"],
    "isCompliant": ["eq"],
    "mdmAppId": ["eq", "in"],
    "physicalIds": ["contains"],
    "profileType": ["eq"],
    "systemLabels": ["contains"],
    "trustType": ["eq"],
    **{name: list(PAIRS) for name in TEXT_PROPERTIES},
}
ASKABLE = [(name, operator) for name, operators in ALLOWED.items() for operator in operators]
NOT_ASKABLE = [(name, operator) for name in ALLOWED for operator in PAIRS if operator not in ALLOWED[name]]


def write_value(operator: str, value: str) -> str:
    return f"[{value}]" if operator == "in" else value


def test_there_are_29_properties() -> None:
    assert len(ALLOWED) == len(LAPTOP) == 29


@pytest.mark.parametrize(("name", "operator"), ASKABLE)
def test_an_operator_tells_values_apart_and_its_negative_says_the_opposite(name: str, operator: str) -> None:
    right, wrong = (write_value(operator, value) for value in VALUES[name])
    assert match(f"device.{name} -{operator} {right}")
    assert not match(f"device.{name} -{operator} {wrong}")
    assert not match(f"device.{name.upper()} -{PAIRS[operator]} {right}")
    assert match(f"device.{name.lower()} -{PAIRS[operator]} {wrong}")


@pytest.mark.parametrize("device", [None, {}, "null"], ids=["unregistered", "nothing known", "null"])
@pytest.mark.parametrize(("name", "operator"), ASKABLE)
def test_positive_operators_never_match_null_and_negative_ones_always_do(name: str, operator: str, device: Any) -> None:
    unknown = {**LAPTOP, name: None} if device == "null" else device
    for value in (write_value(operator, value) for value in VALUES[name]):
        assert not match(f"device.{name} -{operator} {value}", unknown)
        assert match(f"device.{name} -{PAIRS[operator]} {value}", unknown)
        assert match(f"-not device.{name} -{operator} {value}", unknown)
        assert not match(f"-not device.{name} -{PAIRS[operator]} {value}", unknown)


@pytest.mark.parametrize("name", [name for name, operators in ALLOWED.items() if "eq" in operators])
def test_null_itself_can_be_asked_for(name: str) -> None:
    for unknown in (None, {}, {**LAPTOP, name: None}):
        assert match(f"device.{name} -eq null", unknown)
        assert not match(f"device.{name} -ne NULL", unknown)
    assert not match(f"device.{name} -eq null")
    assert match(f"device.{name} -ne null")


@pytest.mark.parametrize(("name", "operator"), NOT_ASKABLE)
def test_an_operator_the_property_does_not_allow_is_refused_at_its_column(name: str, operator: str) -> None:
    for word in (operator, PAIRS[operator]):
        problem = find_problem(f"device.{name} -{word} {write_value(operator, VALUES[name][0])}")
        assert problem.startswith(f"column {len(name) + 9}: expected an operator that {name} allows (-")
        assert problem.endswith(f"found '-{word}'")


@pytest.mark.parametrize(
    ("operator", "value", "verdict"),
    [
        ("startsWith", "10.0", True), ("startsWith", "0.22", False), ("startsWith", "", True),
        ("endsWith", ".22000", True), ("endsWith", "10", False), ("endsWith", "", True),
        ("contains", "0.2", True), ("contains", "0.3", False), ("contains", "", True),
        ("eq", "10.0.22000", True), ("eq", "10.0.22000.0", False), ("eq", "", False),
    ],
)  # fmt: skip
def test_text_operators_compare_text(operator: str, value: str, verdict: bool) -> None:
    assert match(f'device.operatingSystemVersion -{operator} "{value}"') is verdict
    assert match(f'device.operatingSystemVersion -{PAIRS[operator]} "{value}"') is not verdict


@pytest.mark.parametrize("word", ["True", "true", '"True"', "'TRUE'"])
def test_compliance_is_compared_with_true_or_false_in_quotes_or_bare(word: str) -> None:
    for value in (True, "True", "true"):
        assert match(f"device.isCompliant -eq {word}", {"isCompliant": value})
    for value in (False, "False", None, "unknown"):
        assert not match(f"device.isCompliant -eq {word}", {"isCompliant": value})
        assert match(f"device.isCompliant -ne {word}", {"isCompliant": value})
    assert not match("device.isCompliant -eq False", {"isCompliant": "unknown"})


def test_a_collection_is_searched_for_whole_elements() -> None:
    rule = 'device.physicalIds -contains "[OrderId]:sales"'
    for value in (["[ORDERID]:SALES"], ("x", "[OrderId]:sales"), frozenset({"[OrderId]:sales"}), "[OrderId]:sales"):
        assert match(rule, {"physicalIds": value})
    for other in ([], ["[OrderId]:sales2"], ["[OrderId]", ":sales"], "the [OrderId]:sales"):
        assert not match(rule, {"physicalIds": other})
    assert not match('device.systemLabels -contains "M"', {"systemLabels": "M365Managed"})


def test_any_system_label_can_be_asked_for() -> None:
    assert match('device.systemLabels -contains "CloudPC"', {"systemLabels": ["AzureResource", "CloudPC"]})


@pytest.mark.parametrize("wrong", [7, b"Surface", ["Surface Laptop 5"], {"a": 1}, True, object()])
def test_a_value_of_the_wrong_kind_is_null(wrong: Any) -> None:
    assert not match('device.model -contains "a"', {"model": wrong})
    assert match("device.model -eq null", {"model": wrong})
    assert match('device.physicalIds -notContains "7"', {"physicalIds": 7 if wrong is True else wrong})


@pytest.mark.parametrize(
    ("device", "available"),
    [
        ({"isCompliant": True}, True),
        ({"isCompliant": "True"}, True),
        ({"trustType": "ServerAD"}, True),
        ({"trustType": "serverad"}, True),
        ({"mdmAppId": INTUNE.upper()}, True),
        ({"isCompliant": False, "trustType": "AzureAD", "mdmAppId": OTHER_GUID}, False),
        ({"isCompliant": "unknown", "trustType": "Workplace"}, False),
        ({}, False),
    ],
)
def test_extension_attributes_are_available_where_the_device_is_managed_compliant_or_hybrid_joined(
    device: dict[str, Any], available: bool
) -> None:
    saw = {**device, "extensionAttribute1": "SAW", "model": "x"}
    assert match('device.extensionAttribute1 -eq "saw"', saw) is available
    assert match('device.extensionAttribute1 -ne "saw"', saw) is not available
    assert match("device.extensionAttribute1 -eq null", saw) is not available
    assert match('device.model -eq "x"', saw)


# What Microsoft publishes.


@pytest.mark.parametrize(
    ("rule", "laptop", "unregistered"),
    [
        (f'(device.deviceid -eq "{GUID}")', True, False),
        ('(device.displayName -contains "ABC")', False, False),
        ('(device.enrollmentProfileName -startsWith "AutoPilot Profile")', True, False),
        (f'(device.mdmAppId -in ["{OTHER_GUID}"])', False, False),
        ('(device.model -notContains "Surface")', False, True),
        ('(device.operatingSystemVersion -in ["10.0.18363", "10.0.19041", "10.0.22000"])', True, False),
        ('(device.physicalIds -contains "[ZTDId]:value")', False, False),
        ('device.extensionAttribute1 -ne "SAW"', True, True),
        ('device.trustType -ne "ServerAD" -or device.isCompliant -ne True', False, True),
        ('device.deviceOwnership -eq "Company" -or device.isCompliant -eq True', True, False),
    ],
)
def test_rules_microsoft_publishes(rule: str, laptop: bool, unregistered: bool) -> None:
    assert match(rule) is laptop
    assert match(rule, None) is unregistered


def test_properties_are_listed_once_in_the_order_of_the_rule_in_entras_spelling() -> None:
    compiled = compile_rule(
        'device.TRUSTTYPE -eq "AzureAD" -or -not (device.model -eq "x" -and device.trusttype -ne null)'
    )
    assert list_properties(compiled) == ["trustType", "model"]
    assert compiled == compile_rule(compiled.rule)
