"""Names in the metadata of photographs: written for other programs to read, and read where others have named faces.

XMP is read and written, embedded and in sidecars; Picasa's files and digiKam's database are read.
"""
