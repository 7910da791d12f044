"""The .reg file: what goes in comes out, for us and for hivex; what is not the format is refused with its line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.read_registry import decode_reg_bytes, decode_reg_file
from evertunnel.profiles.registry import (
    HEADER,
    DeletedKey,
    DeletedValue,
    Operation,
    RegistryType,
    RegistryValue,
    encode_reg_bytes,
    encode_reg_file,
)  # fmt: skip
from evertunnel.profiles.registry_tree import build_registry_tree
from tests.unit.profiles.hive import list_parents, merge
from tests.unit.profiles.strategies import HOSTILE, TEXT

TOP = "HKEY_LOCAL_MACHINE\\SOFTWARE"
PART = TEXT.filter(lambda text: bool(text) and "\\" not in text)
KEY = st.lists(PART, min_size=1, max_size=3).map(lambda parts: "\\".join([TOP, *parts]))
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60) | st.sampled_from(HOSTILE)
DATA = st.one_of(
    st.tuples(st.sampled_from([RegistryType.SZ, RegistryType.EXPAND_SZ]), ANY_TEXT),
    st.tuples(st.just(RegistryType.DWORD), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(RegistryType.QWORD), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(RegistryType.BINARY) | st.sampled_from([0, 5, 8, 0x1234]), st.binary(max_size=100)),
    st.tuples(
        st.just(RegistryType.MULTI_SZ),
        st.lists(ANY_TEXT.filter(lambda text: text and "\0" not in text), max_size=4).map(tuple),
    ),
)
VALUE = st.builds(lambda key, name, data: RegistryValue(key, name, *data), KEY, TEXT | st.just(""), DATA)
OPERATION = VALUE | st.builds(DeletedValue, KEY, TEXT) | st.builds(DeletedKey, KEY)


@given(st.lists(OPERATION, max_size=12), ANY_TEXT)
def test_what_is_written_is_read_back(operations: list[Operation], comment: str) -> None:
    text = encode_reg_file(operations, comment=comment)
    assert decode_reg_file(text) == operations
    assert decode_reg_file(decode_reg_bytes(encode_reg_bytes(text))) == operations


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUE, min_size=1, max_size=12, unique_by=lambda value: (value.key.lower(), value.name.lower())))
def test_hivex_reads_the_same_values(tmp_path: Path, values: list[RegistryValue]) -> None:
    # Numbered, because hivex and we do not fold the case of every alphabet alike.
    numbered = [
        RegistryValue(
            f"{TOP}\\{index} {value.key.rpartition(chr(92))[2]}", f"{index}{value.name}", value.type, value.data
        )
        for index, value in enumerate(values)
    ]
    text = encode_reg_file(numbered)
    text = text.replace(HEADER + "\n\n", f"{HEADER}\n\n{list_parents([value.key for value in numbered])}", 1)
    found = decode_reg_file(merge(tmp_path, text, "HKEY_LOCAL_MACHINE"))
    assert {(item.key, item.name): item for item in found if isinstance(item, RegistryValue)} == {
        (value.key, value.name): value for value in numbered
    }


def test_a_file_as_regedit_writes_it() -> None:
    text = (
        "\ufeffWindows Registry Editor Version 5.00\r\n\r\n; a comment\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\DPC]\r\n"
        '@="default"\r\n"Path"="C:\\\\Program Files\\\\\\"x\\""\r\n"n"=dword:0000000a ; ten\r\n'
        '"q"=hex(b):01,00,00,00,00,00,\\\r\n'
        '  00,00\r\n"e"=hex(2):25,00,\\\r\n  54,00,25,00,00,00\r\n"m"=hex(7):61,00,00,00,62,00,00,00,00,00\r\n'
        '"two"="first\r\nsecond = \\"x\\"\r\n"\r\n"gone"=-\r\n\r\n[-HKEY_LOCAL_MACHINE\\SOFTWARE\\Old]\r\n'
    )
    key = "HKEY_LOCAL_MACHINE\\SOFTWARE\\DPC"
    assert decode_reg_file(text) == [
        RegistryValue(key, "", RegistryType.SZ, "default"),
        RegistryValue(key, "Path", RegistryType.SZ, 'C:\\Program Files\\"x"'),
        RegistryValue(key, "n", RegistryType.DWORD, 10),
        RegistryValue(key, "q", RegistryType.QWORD, 1),
        RegistryValue(key, "e", RegistryType.EXPAND_SZ, "%T%"),
        RegistryValue(key, "m", RegistryType.MULTI_SZ, ("a", "b")),
        RegistryValue(key, "two", RegistryType.SZ, 'first\nsecond = "x"\n'),
        DeletedValue(key, "gone"),
        DeletedKey("HKEY_LOCAL_MACHINE\\SOFTWARE\\Old"),
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('"x"="1"', "line 3: a value outside of a key"),
        ("[HKEY_LOCAL_MACHINE\\A", "line 3: the key"),
        ("[]", "line 3: '' cannot be a registry key"),
        ("[A\\\\B]", "cannot be a registry key"),
        ("[" + "a\\" * 40 + "b]", "cannot be a registry key"),
        ("[A]\nx=1", "line 4: 'x=1' is no value"),
        ('[A]\n"x"=1', "neither a quoted text nor dword"),
        ('[A]\n"x"="a\\nb"', "a backslash is written twice"),
        ('[A]\n"x"="never closed\n[B]\n', "line 4:"),
        ('[A]\n"x"=dword:123456789', "line 4:"),
        ('[A]\n"x"=hex:1,,2', "line 4:"),
        ('[A]\n"x"=hex:zz', "line 4:"),
        ('[A]\n"x"=hex(b):00,01', "line 4: a number of 2 bytes"),
        ('[A]\n"x"=hex(2):00', "line 4: the bytes are no UTF-16LE text"),
        ('[A]\n"x"=hex:00,\\', "line 4:"),
        ('[A]\n"a\tb"="1"', "control characters"),
        ('[A]\n' + '"x"="1"\n' * 20_001, "more than 20000"),
        (" " * 4_000_001, "longer than"),
    ],
)  # fmt: skip
def test_what_is_not_the_format_is_refused_with_its_line(body: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        decode_reg_file(f"{HEADER}\n\n{body}")
    assert said in str(raised.value)


@pytest.mark.parametrize("text", ["", "REGEDIT4\n[A]", "<xml/>", "MZ\0\0"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        decode_reg_file(text)


@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*'[]"\\=-@;,\n0a', "dword:", "hex(2):", "[A]\n"])).map("".join)
)
def test_no_text_brings_the_decoder_down(body: str) -> None:
    try:
        operations = decode_reg_file(f"{HEADER}\n{body}")
    except InvalidInputError:
        return
    assert decode_reg_file(encode_reg_file(operations)) == operations


@pytest.mark.parametrize(
    "value",
    [
        RegistryValue("A", "x\ny", RegistryType.SZ, ""),
        RegistryValue("A]\n[B", "x", RegistryType.SZ, ""),
        RegistryValue("-A", "x", RegistryType.SZ, ""),
        RegistryValue("A\\\\B", "x", RegistryType.SZ, ""),
        RegistryValue("A", "x", RegistryType.DWORD, 2**32),
        RegistryValue("A", "x", RegistryType.DWORD, "1"),
        RegistryValue("A", "x", RegistryType.SZ, "\ud800"),
        RegistryValue("A", "x", RegistryType.MULTI_SZ, ("a", "")),
    ],
)
def test_what_the_format_cannot_carry_is_not_written(value: RegistryValue) -> None:
    with pytest.raises(InvalidInputError):
        encode_reg_file([value])


def test_operations_are_done_in_their_order_whatever_the_case() -> None:
    tree = build_registry_tree(
        decode_reg_file(
            f'{HEADER}\n[A\\B]\n"x"="1"\n"y"="2"\n[-a\\b]\n[a\\B\\C]\n"X"="3"\n[A\\b]\n"Z"="4"\n"z"=-\n"W"=dword:1\n"w"=dword:2\n'
        )
    )
    key = tree.find("a\\b")
    assert key is not None and [value.data for value in key.values.values()] == [2]
    below = tree.find("A\\B\\c")
    assert below is not None and below.values["x"].data == "3"
