"""XMP packets: parsed without trust, changed in place, written back with all else that they hold.

XMP (ISO 16684-1) is RDF in XML, in which one thing can be written in several ways: a property as an element or an
attribute, a structure as `rdf:parseType="Resource"` or as a nested `rdf:Description`. All are read; what lightface adds
is in elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any, Final

from lxml import etree

from lightface.errors import MetadataError

Element = Any  # lxml has no types of its own

MOST_BYTES: Final = 1 << 24  # of a packet; those of photographs have thousands, of edited ones hundreds of thousands

NAMESPACES: Final = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "lightface": "urn:lightface:names/1.0/",
}


def qualified(name: str) -> str:
    """`dc:subject` as lxml names it."""
    prefix, _, local = name.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


_RDF: Final = qualified("rdf:RDF")
_DESCRIPTION: Final = qualified("rdf:Description")
_ABOUT: Final = qualified("rdf:about")
_PARSE_TYPE: Final = qualified("rdf:parseType")
_ITEM: Final = qualified("rdf:li")
_ARRAYS: Final = frozenset(map(qualified, ("rdf:Bag", "rdf:Seq", "rdf:Alt")))
_ADDED: Final = ("dc", "Iptc4xmpExt", "mwg-rs", "stArea", "stDim", "MP", "MPRI", "MPReg", "lightface")
_TEMPLATE: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="lightface">\n'
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n </rdf:RDF>\n'
    '</x:xmpmeta>\n<?xpacket end="w"?>'
).encode()
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")  # with which UTF-16 begins
_ROOT: Final = re.compile(rb"<((?:[\w.-]+:)?(?:xmpmeta|xapmeta|RDF))[\s>].*</\1\s*>", re.DOTALL)


class XmpPacket:
    """One packet, embedded or in a file of its own."""

    def __init__(self, data: bytes | None = None) -> None:
        """Parse a packet; None makes a new one without any property.

        MetadataError for what is no whole XMP, has more than 16 MiB, or declares a document type, as no XMP does:
        entities are how XML asks for memory without end, or for other files.
        """
        self._data = _TEMPLATE if data is None else data
        self._tree = parse_xml(self._data)
        root = self._tree.getroot()
        found = [one for one in (root, *root) if one.tag == _RDF]
        if len(found) != 1:
            raise MetadataError("its XMP is damaged (it holds no RDF); mend or delete it in the program that wrote it")
        self.rdf: Element = found[0]
        own = f"{{{NAMESPACES['lightface']}}}"
        self._added: Element | None = next(
            (one for one in self._descriptions() if any(str(child.tag).startswith(own) for child in one)), None
        )

    def canonical(self) -> bytes:
        """What is the same for two packets that mean the same to every reader of XML.

        It is not Canonical XML, which refuses namespaces that are no whole URI; some programs have such.
        """
        text: bytes = etree.tostring(self._tree)
        return text

    def to_bytes(self) -> bytes:
        """The packet in the encoding in which it came; what stands before and after the root is as it was."""
        if self._added is not None and self._added.getparent() is not None:
            etree.indent(self._added, " ", level=2)
        written: bytes
        if found := _ROOT.search(self._data):  # not in UTF-16
            root = etree.tostring(self._tree.getroot(), encoding=self._encoding, xml_declaration=False, with_tail=False)
            written = self._data[: found.start()] + root + self._data[found.end() :]
            if _parse_or_none(written) == self.canonical():
                return written
        written = etree.tostring(self._tree, encoding=self._encoding, xml_declaration=True)
        return written

    @property
    def _encoding(self) -> str:
        if self._data.startswith(_WIDE_MARKS):  # of which lxml says UTF-8, where no declaration says otherwise
            return "UTF-16"
        return str(self._tree.docinfo.encoding or "UTF-8")

    def says_the_same(self, other: XmpPacket) -> bool:
        """Whether two packets are the same but for white space between their elements."""
        return _without_blanks(self) == _without_blanks(other)

    def copy_from(self, other: XmpPacket, names: Iterable[str]) -> None:
        """Add these properties as they are in another packet, where that has them."""
        for name in names:
            element = other.find(name)
            if element is not None:
                own = self.add(name)
                own.getparent().replace(own, deepcopy(element))

    def find(self, name: str) -> Element | None:
        """The element of a property such as `dc:subject`; None where there is none.

        MetadataError where it stands there twice, or as an attribute although it is no plain text: such a packet is
        not as XMP says, and nobody can tell what another reader makes of it.
        """
        tag = qualified(name)
        found = [child for one in self._descriptions() for child in one if child.tag == tag]
        if len(found) > 1 or any(tag in one.attrib for one in self._descriptions()):
            raise MetadataError(f"its XMP is damaged ({name} is there twice, or is no list); mend it first")
        return found[0] if found else None

    def add(self, name: str) -> Element:
        """A new, empty property; `find` has found none. All that lightface adds stands in one description."""
        if self._added is None or self._added.getparent() is None:
            about = next((one.get(_ABOUT) for one in self._descriptions() if one.get(_ABOUT) is not None), "")
            prefixes = {prefix: NAMESPACES[prefix] for prefix in _ADDED}
            self._added = etree.SubElement(self.rdf, _DESCRIPTION, {_ABOUT: about}, nsmap=prefixes)
            self._added.tail = "\n "
        return etree.SubElement(self._added, qualified(name))

    def release(self, element: Element) -> None:
        """Take out a property, and the description around it where nothing else is in that."""
        description = element.getparent()
        remove(element)
        if not len(description) and set(description.attrib) <= {_ABOUT}:
            remove(description)

    def _descriptions(self) -> Iterator[Element]:
        return (child for child in self.rdf if child.tag == _DESCRIPTION)


def items_of(element: Element) -> list[Element]:
    """The `rdf:li` of a property that is a list; [] where it holds no list."""
    array = array_of(element)
    return [] if array is None else [child for child in array if child.tag == _ITEM]


def array_of(element: Element) -> Element | None:
    """The `rdf:Bag` (or Seq, Alt) in a property."""
    return next((child for child in element if child.tag in _ARRAYS), None)


def add_item(array: Element) -> Element:
    """A new `rdf:li` at the end of a list."""
    return etree.SubElement(array, _ITEM)


def add_array(element: Element) -> Element:
    """A new `rdf:Bag` in a property without content."""
    return etree.SubElement(element, qualified("rdf:Bag"))


def field_of(structure: Element, name: str) -> Element | str | None:
    """A field of a structure: an element, or the text of an attribute; None where there is none."""
    tag = qualified(name)
    for holder in _holders(structure):
        if tag in holder.attrib:
            return str(holder.attrib[tag])
        for child in holder:
            if child.tag == tag:
                return child
    return None


def add_field(structure: Element, name: str, text: str | None = None) -> Element:
    """A new field, plain text or empty. MetadataError in a structure that is written as attributes alone."""
    holders = _holders(structure)
    if len(holders) > 1:
        holder = holders[1]
    elif structure.get(_PARSE_TYPE) == "Resource":
        holder = structure
    elif not structure.attrib and not len(structure) and not (structure.text or "").strip():
        structure.set(_PARSE_TYPE, "Resource")
        holder = structure
    else:
        raise MetadataError(f"its XMP is of a form to which {name} cannot be added; take a sidecar")
    prefix = name.partition(":")[0]
    child = etree.SubElement(holder, qualified(name), nsmap={prefix: NAMESPACES[prefix]})
    child.text = text
    return child


def text_of(value: Element | str | None) -> str:
    """The text of a field or item; of alternatives in several languages, the first; "" of what is not there."""
    if value is None or isinstance(value, str):
        return (value or "").strip()
    items = items_of(value)
    return "".join((items[0] if items else value).itertext()).strip()


def remove(element: Element) -> None:
    """Take an element out of its parent; the white space after it goes too."""
    element.getparent().remove(element)


def parse_xml(data: bytes, *, what: str = "its XMP") -> Any:
    """The tree of an XML text that a stranger may have written. `what` is what it is called in errors.

    MetadataError for what is damaged, has more than 16 MiB, or declares a document type.
    """
    if not data.startswith(_WIDE_MARKS):
        data = data.strip(b"\0 \t\r\n")  # that fill up a segment
    if len(data) > MOST_BYTES:
        raise MetadataError(f"{what} has more than {MOST_BYTES / 1e6:.0f} MB; look what it is")
    # Without NUL, so that UTF-16 and UTF-32 are seen through.
    is_typed = b"<!DOCTYPE" in data.replace(b"\0", b"")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        tree = None if is_typed else etree.fromstring(data, parser).getroottree()
    except (etree.LxmlError, ValueError, LookupError) as error:
        reason = str(error).partition(", line")[0]
        raise MetadataError(f"{what} is damaged ({reason}); mend it in the program that wrote it") from error
    if tree is None or tree.docinfo.doctype:
        raise MetadataError(f"{what} declares a document type, which nobody writes; look where it comes from")
    return tree


def _holders(structure: Element) -> list[Element]:
    return [structure, *(child for child in structure if child.tag == _DESCRIPTION)]


def _without_blanks(packet: XmpPacket) -> bytes:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True)
    text: bytes = etree.tostring(etree.fromstring(packet.canonical(), parser).getroottree())
    return text


def _parse_or_none(data: bytes) -> bytes | None:
    """The canonical form, or None where that is no XML."""
    try:
        text: bytes = etree.tostring(parse_xml(data))
    except MetadataError:
        return None
    return text
