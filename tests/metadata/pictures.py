"""Photographs with EXIF orientations and XMP as other programs write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from lightface.images import StoredFrame

WIDTH, HEIGHT = 400, 300  # as stored
ORIENTATIONS = range(1, 9)
PACKET = """<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='XMP Core 4.4.0-Exiv2'>
 <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
{descriptions}
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end='w'?>"""
# As digiKam writes a face: structures as attributes, both standards, and its own tags. Bob is in the upper left quarter
# of the stored picture.
OF_DIGIKAM = """  <rdf:Description rdf:about=""
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
    xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
    xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
    xmlns:MP="http://ns.microsoft.com/photo/1.2/"
    xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
    xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
   xmp:Rating="4">
   <!-- tags -->
   <digiKam:TagsList><rdf:Seq><rdf:li>People/Bob</rdf:li></rdf:Seq></digiKam:TagsList>
   <dc:subject><rdf:Bag><rdf:li>Bob</rdf:li><rdf:li>holiday</rdf:li></rdf:Bag></dc:subject>
   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions stDim:w="{width}" stDim:h="{height}" stDim:unit="pixel"/>
    <mwg-rs:RegionList>
     <rdf:Bag>
      <rdf:li>
       <rdf:Description mwg-rs:Name="Bob" mwg-rs:Type="Face">
        <mwg-rs:Area stArea:x="0.25" stArea:y="0.25" stArea:w="0.2" stArea:h="0.3" stArea:unit="normalized"/>
       </rdf:Description>
      </rdf:li>
     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>
   <MP:RegionInfo rdf:parseType="Resource">
    <MPRI:Regions>
     <rdf:Bag>
      <rdf:li MPReg:Rectangle="0.15, 0.1, 0.2, 0.3" MPReg:PersonDisplayName="Bob"/>
     </rdf:Bag>
    </MPRI:Regions>
   </MP:RegionInfo>
  </rdf:Description>"""
BOB_STORED_PX = (60.0, 30.0, 140.0, 120.0)


def packet_of_digikam(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return PACKET.format(descriptions=OF_DIGIKAM.format(width=width, height=height)).encode()


def paint_photo(path: Path, *, orientation: int = 1, xmp: bytes | None = None) -> Path:
    """A picture of 400x300 pixels as it is stored, of the kind that the suffix says."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.new("RGB", (WIDTH, HEIGHT), (90, 80, 70))
    options: dict[str, Any] = {"xmp": xmp} if xmp is not None else {}
    if xmp is not None and path.suffix == ".png":
        options = {"pnginfo": PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    if xmp is not None and path.suffix == ".tif":
        exif[ExifTags.Base.XMLPacket] = xmp
        options = {}
    image.save(path, exif=exif, **options)
    return path


def frame_of(orientation: int) -> StoredFrame:
    return StoredFrame(WIDTH, HEIGHT, orientation)
