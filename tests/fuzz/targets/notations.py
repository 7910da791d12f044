"""The notations that profiles come in: registry files, XML, swanctl.conf. Written again they say the same."""

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.formats import FORMATS, Options
from evertunnel.profiles.read_registry import decode_reg_bytes, decode_reg_file
from evertunnel.profiles.registry import HEADER, encode_reg_bytes, encode_reg_file
from evertunnel.profiles.swanctl_conf import Section, decode_conf, encode_conf
from evertunnel.profiles.xml_tree import Node, parse_xml, render_xml
from tests.fuzz.target import Target
from tests.unit.profiles.samples import ENTRA, USER

_REGISTRY, _XML, _CONF = range(3)
_ENTRIES = rf"""{HEADER}

; a comment
[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\X]
@="default"
"text"="a \"quoted\" \\ text"
"number"=dword:0000002a
"many"=hex(7):41,00,00,00,\
  42,00,00,00,00,00
"big"=hex(b):01,02,03,04,05,06,07,08
"gone"=-
[-HKEY_CURRENT_USER\Y]
"""


def build() -> Target:
    """What we write, and each kind of entry."""
    options = Options()
    seeds = [bytes((_REGISTRY,)) + _ENTRIES.encode(), bytes((_REGISTRY,)) + encode_reg_bytes(_ENTRIES)]
    seeds.append(bytes((_REGISTRY,)) + FORMATS["dpc-reg"].build(USER, options).encode())
    seeds += [bytes((_XML,)) + FORMATS["profilexml-intune"].build(each, options).encode() for each in (USER, ENTRA)]
    seeds.append(bytes((_XML,)) + b'<a xmlns="urn:x" b="1"><!-- c --><d xmlns="">&amp;<![CDATA[<]]></d></a>')
    seeds.append(bytes((_CONF,)) + FORMATS["swanctl"].build(USER, options).encode())
    seeds.append(bytes((_CONF,)) + b'a { b = c # d\n e { f = "g\\n\\"" } }\n')
    words = [
        "hex(2):",
        "dword:",
        '"=-',
        "[-",
        "\\\r\n",
        "<![CDATA[",
        "]]>",
        "&#65;",
        "xmlns:x=",
        "<?x?>",
        "{",
        "}",
        "include",
    ]
    return Target(check, seeds, largest_bytes=16_384, words=[word.encode() for word in words])


def check(data: bytes) -> None:
    """Read by the first octet; only InvalidInputError may come of it."""
    if not data:
        return
    try:
        (_check_registry, _check_xml, _check_conf)[data[0] % 3](data[1:])
    except InvalidInputError as error:
        assert 0 < len(str(error)) < 2_000


def _check_registry(data: bytes) -> None:
    operations = decode_reg_file(decode_reg_bytes(data))
    try:
        text = encode_reg_file(operations)
    except InvalidInputError:
        return  # read as it is, and not for writing: a text with a NUL in a list, say
    assert decode_reg_file(text) == operations


def _check_xml(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    root = parse_xml(text)
    again = parse_xml(render_xml(root, indent=""))
    assert _strip(again) == _strip(root)


def _strip(node: Node) -> tuple[object, ...]:
    return (node.name, node.namespace, node.text, node.attributes, [_strip(child) for child in node.children])


def _check_conf(data: bytes) -> None:
    conf = decode_conf(data.decode("utf-8", "replace"))
    try:
        text = encode_conf(conf)
    except InvalidInputError:
        return  # a control character in a value
    assert _flatten(decode_conf(text)) == _flatten(conf)


def _flatten(section: Section) -> tuple[object, ...]:
    return (section.settings, {name: _flatten(inner) for name, inner in section.sections.items()})
