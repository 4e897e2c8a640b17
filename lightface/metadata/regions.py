"""Face regions and keywords in an XMP packet: what is there, and what lightface puts there and takes out again.

Two standards name faces, and both are written, since each has its readers: the regions of the Metadata Working Group
(Guidelines for Handling Image Metadata 2.0, section 5.9) and Microsoft's (People Tagging). Both mean the picture as it
is stored, before the EXIF orientation turns it. Who is in the picture stands in `dc:subject` and `PersonInImage` too.

What is lightface's own is told by a list beside each of these four, in a namespace of lightface's own: an entry that
somebody has changed since is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lightface.errors import MetadataError
from lightface.images import StoredFrame
from lightface.metadata.xmp import (
    Element,
    XmpPacket,
    add_array,
    add_field,
    add_item,
    array_of,
    field_of,
    items_of,
    remove,
    text_of,
)
from lightface.pipeline.named_faces import is_of_one_face
from lightface.records import BoxPx

Box = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max, as shares of width and height

_SAME_BOX: Final = 1e-3  # between edges: another program may have rounded them to whole pixels
_SAME_SHAPE: Final = 0.02  # of width to height: of a picture that was made smaller, and not cut

# Where a point of the upright picture lies in the stored one (EXIF 2.3, table 6), both as shares of width and height.
_TO_STORED: Final[dict[int, Callable[[float, float], tuple[float, float]]]] = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (y, 1 - x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (1 - y, x),
}
_INVERSE: Final = {6: 8, 8: 6}  # each of the others undoes itself


@dataclass(frozen=True, slots=True)
class Region:
    """A named place in a picture."""

    name: str  # "" where nobody has named it
    box: Box
    is_own: bool = field(default=False, compare=False)  # lightface has put it there, and nobody has changed it since


@dataclass(slots=True)
class Outcome:
    """What became of the names that were to be written into a packet."""

    is_changed: bool = False
    contradicted: list[tuple[str, str]] = field(default_factory=list)  # a name, and the one that is there already


def to_stored(box_px: BoxPx, frame: StoredFrame) -> Box:
    """A box in pixels of the upright photograph as shares of the stored one."""
    width, height = frame.upright_size_px
    x_min, y_min, x_max, y_max = box_px
    return _turn((x_min / width, y_min / height, x_max / width, y_max / height), frame.orientation)


def to_upright(box: Box, frame: StoredFrame) -> BoxPx:
    """The inverse of `to_stored`."""
    width, height = frame.upright_size_px
    x_min, y_min, x_max, y_max = _turn(box, _INVERSE.get(frame.orientation, frame.orientation))
    return x_min * width, y_min * height, x_max * width, y_max * height


def read_regions(packet: XmpPacket, frame: StoredFrame) -> list[Region]:
    """The faces that a packet marks in the stored picture; one that both standards mark comes once.

    Regions of anything but faces are left out. MetadataError where the regions are of a picture of another shape, as
    after cutting or turning it, or the packet is damaged.
    """
    regions: list[Region] = []
    is_turned = _is_turned(packet, frame)
    for entries in (_MWG, _MICROSOFT):
        own = entries.own(packet)
        for item in entries.items(packet):
            found = entries.read(item)
            if not isinstance(found, Region):
                continue
            is_own = any(_is_same(found, mark) for mark in own)
            box = _turn(found.box, frame.orientation) if is_turned else found.box
            regions.append(Region(found.name, box, is_own))
    return merge_regions(regions)


def merge_regions(regions: Iterable[Region]) -> list[Region]:
    """Each face under one name once; it is lightface's own only where nobody else has marked it."""
    merged: list[Region] = []
    for region in regions:
        for at, other in enumerate(merged):
            if region.name == other.name and is_of_one_face(region.box, other.box):
                merged[at] = replace(other, is_own=other.is_own and region.is_own)
                break
        else:
            merged.append(region)
    return merged


def write_regions(
    packet: XmpPacket, wanted: Sequence[Region], frame: StoredFrame | None, *, others: Iterable[Region] = ()
) -> Outcome:
    """Make what lightface has in a packet be `wanted`, and leave all else as it is; no regions take out all of it.

    What somebody else has marked stays theirs: a person whom they have marked gets no second region, wherever the first
    is; where they have given the face another name, the two names are told as contradicted, and the person is written
    nowhere. `others` are such regions outside of the
    packet. `frame` may be missing where nothing is wanted. MetadataError where the packet cannot be added to.
    """
    before = packet.canonical()
    outcome = Outcome()
    if wanted:
        assert frame is not None
        if _is_turned(packet, frame):
            raise MetadataError("its face regions count from the upright picture, against the standard; mark them anew")
        others = [*others, *(one for one in read_regions(packet, frame) if not one.is_own)]
    accepted = []
    for region in wanted:
        is_marked = any(one.name == region.name for one in others)
        there = [one for one in others if one.name and is_of_one_face(one.box, region.box)]
        if there and not is_marked:
            outcome.contradicted.append((region.name, there[0].name))
        else:
            accepted.append((region, is_marked))
    regions = [region for region, is_marked in accepted if not is_marked]
    names = list(dict.fromkeys(region.name for region, _ in accepted))
    _MWG.update(packet, regions, frame)
    _MICROSOFT.update(packet, regions, frame)
    for keywords in (_SUBJECTS, _PEOPLE):
        keywords.update(packet, names, frame)
    outcome.is_changed = packet.canonical() != before
    return outcome


# The four lists, and beside each the one that says what is lightface's own in it.


_Entry = Region | str


@dataclass(frozen=True, slots=True)
class _Entries:
    """A list in XMP: a property, in it perhaps a field, in that an array."""

    name: str
    inner: str | None  # the field that holds the array
    mark: str  # the list of what is lightface's own
    read: Callable[[Element], _Entry | None]  # None for what is none, such as a region of no face
    fill: Callable[[Element, _Entry], None]

    def items(self, packet: XmpPacket) -> list[Element]:
        """The entries as elements, whoever has put them there."""
        holder = self._holder(packet.find(self.name))
        return [] if holder is None else items_of(holder)

    def own(self, packet: XmpPacket) -> list[_Entry]:
        """What lightface has put there."""
        marks = packet.find(self.mark)
        texts = [] if marks is None else [text_of(item) for item in items_of(marks)]
        return [entry for entry in map(_from_text if self.inner else str, texts) if entry is not None]

    def update(self, packet: XmpPacket, wanted: Sequence[_Entry], frame: StoredFrame | None) -> None:
        """Take out what is lightface's own and not wanted, and add what is wanted and not there."""
        marks = self.own(packet)
        own: list[_Entry] = []
        kept: list[_Entry] = []  # whoever has put it there
        removed = False
        for item in self.items(packet):
            entry = self.read(item)
            if entry is None:
                continue
            mark = next((one for one in marks if _is_same(one, entry)), None)
            if mark is not None:
                marks.remove(mark)
                if not any(_is_same(entry, one) for one in wanted):
                    remove(item)
                    removed = True
                    continue
                own.append(entry)
            kept.append(entry)
        new = [one for one in wanted if not any(_is_same(one, entry) for entry in kept)]
        if new:
            array = self._make_array(packet, frame)
            for entry in new:
                self.fill(add_item(array), entry)
        elif removed:
            self._drop_if_empty(packet)
        self._mark(packet, own + new)

    def _holder(self, element: Element | None) -> Element | None:
        """What holds the array."""
        if element is None or self.inner is None:
            return element
        inner = field_of(element, self.inner)
        return None if isinstance(inner, str) else inner

    def _make_array(self, packet: XmpPacket, frame: StoredFrame | None) -> Element:
        element = packet.find(self.name)
        if element is None:
            element = packet.add(self.name)
            if self.name == _MWG_NAME and frame is not None:
                size = add_field(element, "mwg-rs:AppliedToDimensions")
                for name, value in (("w", str(frame.width_px)), ("h", str(frame.height_px)), ("unit", "pixel")):
                    add_field(size, f"stDim:{name}", value)
        holder = self._holder(element)
        if holder is None:
            assert self.inner is not None
            holder = add_field(element, self.inner)
        array = array_of(holder)
        if array is None:
            if len(holder) or (holder.text or "").strip():
                raise MetadataError(f"its XMP is damaged ({self.name} is no list); mend it first")
            array = add_array(holder)
        return array

    def _drop_if_empty(self, packet: XmpPacket) -> None:
        element = packet.find(self.name)
        if element is not None and not self.items(packet):
            packet.release(element)

    def _mark(self, packet: XmpPacket, own: Sequence[_Entry]) -> None:
        element = packet.find(self.mark)
        if element is not None:
            marked = self.own(packet)
            if len(marked) == len(own) and all(map(_is_same, marked, own)):
                return
            packet.release(element)
        if own:
            array = add_array(packet.add(self.mark))
            for entry in own:
                add_item(array).text = _to_text(entry)


def _is_same(one: _Entry, other: _Entry) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return one.name == other.name and all(
        abs(edge - edge_of_other) <= _SAME_BOX for edge, edge_of_other in zip(one.box, other.box, strict=True)
    )


def _to_text(entry: _Entry) -> str:
    """`x, y, width, height, name`, as Microsoft's rectangles begin."""
    return entry if isinstance(entry, str) else f"{_to_rectangle(entry.box)}, {entry.name}"


def _from_text(text: str) -> Region | None:
    numbers, name = text.split(",")[:4], ",".join(text.split(",")[4:]).strip()
    box = _from_rectangle(",".join(numbers))
    return None if box is None else Region(name, box)


def _to_rectangle(box: Box) -> str:
    x_min, y_min, x_max, y_max = box
    return ", ".join(f"{value:.6f}" for value in (x_min, y_min, x_max - x_min, y_max - y_min))


def _from_rectangle(text: str) -> Box | None:
    numbers = [_to_number(part) for part in text.split(",")]
    if len(numbers) != 4:
        return None
    x, y, width, height = numbers
    return _checked((x, y, x + width, y + height))


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _checked(box: Box) -> Box | None:
    """The box, or None for one that is no part of a picture: NaN, turned about, or far outside."""
    x_min, y_min, x_max, y_max = box
    return box if -0.5 <= x_min < x_max <= 1.5 and -0.5 <= y_min < y_max <= 1.5 else None


def _read_mwg(item: Element) -> Region | None:
    area = _structure(field_of(item, "mwg-rs:Area"))
    kind = text_of(field_of(item, "mwg-rs:Type"))
    if area is None or kind not in ("", "Face"):
        return None
    if text_of(field_of(area, "stArea:unit")) not in ("", "normalized"):
        return None
    x, y, width, height = (_to_number(text_of(field_of(area, f"stArea:{name}"))) for name in "xywh")
    box = _checked((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    return None if box is None else Region(text_of(field_of(item, "mwg-rs:Name")), box)


def _fill_mwg(item: Element, region: _Entry) -> None:
    assert isinstance(region, Region)
    x_min, y_min, x_max, y_max = region.box
    add_field(item, "mwg-rs:Name", region.name)
    add_field(item, "mwg-rs:Type", "Face")
    area = add_field(item, "mwg-rs:Area")
    values = {"x": (x_min + x_max) / 2, "y": (y_min + y_max) / 2, "w": x_max - x_min, "h": y_max - y_min}
    for name, value in values.items():
        add_field(area, f"stArea:{name}", f"{value:.6f}")
    add_field(area, "stArea:unit", "normalized")


def _read_microsoft(item: Element) -> Region | None:
    box = _from_rectangle(text_of(field_of(item, "MPReg:Rectangle")))
    return None if box is None else Region(text_of(field_of(item, "MPReg:PersonDisplayName")), box)


def _fill_microsoft(item: Element, region: _Entry) -> None:
    assert isinstance(region, Region)
    add_field(item, "MPReg:PersonDisplayName", region.name)
    add_field(item, "MPReg:Rectangle", _to_rectangle(region.box))


def _fill_text(item: Element, name: _Entry) -> None:
    item.text = str(name)


_MWG_NAME: Final = "mwg-rs:Regions"
_MWG: Final = _Entries(_MWG_NAME, "mwg-rs:RegionList", "lightface:RegionList", _read_mwg, _fill_mwg)
_MICROSOFT: Final = _Entries("MP:RegionInfo", "MPRI:Regions", "lightface:RegionInfo", _read_microsoft, _fill_microsoft)
_SUBJECTS: Final = _Entries("dc:subject", None, "lightface:Subject", text_of, _fill_text)
_PEOPLE: Final = _Entries("Iptc4xmpExt:PersonInImage", None, "lightface:PersonInImage", text_of, _fill_text)
KEYWORDS: Final = (_SUBJECTS.name, _PEOPLE.name)
PROPERTIES: Final = (_MWG.name, _MICROSOFT.name, *KEYWORDS)  # that lightface adds to


MARKS: Final = (_MWG.mark, _MICROSOFT.mark, _SUBJECTS.mark, _PEOPLE.mark)


def _structure(value: Element | str | None) -> Element | None:
    return None if isinstance(value, str) else value


def _is_turned(packet: XmpPacket, frame: StoredFrame) -> bool:
    """Whether the regions count from the upright picture, against the standard: the size beside them says so.

    MetadataError where it is of a picture of neither shape.
    """
    regions = packet.find(_MWG_NAME)
    size = None if regions is None else _structure(field_of(regions, "mwg-rs:AppliedToDimensions"))
    if size is None:
        return False
    width, height = (_to_number(text_of(field_of(size, f"stDim:{name}"))) for name in "wh")
    if not (width > 0 and height > 0):
        return False
    if _is_shaped(width / height, frame.width_px / frame.height_px):
        return False
    if frame.orientation >= 5 and _is_shaped(width / height, frame.height_px / frame.width_px):
        return True
    raise MetadataError(
        f"its face regions are of a picture of {width:.0f}x{height:.0f} pixels, and it has "
        f"{frame.width_px}x{frame.height_px}: it was cut or turned since; mark the faces anew in the program that did"
    )


def _is_shaped(shape: float, as_shape: float) -> bool:
    return abs(shape / as_shape - 1) <= _SAME_SHAPE


def _turn(box: Box, orientation: int) -> Box:
    x_min, y_min, x_max, y_max = box
    turn = _TO_STORED[orientation]
    (xa, ya), (xb, yb) = turn(x_min, y_min), turn(x_max, y_max)
    return min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)
