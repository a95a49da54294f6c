"""The formats of images: which are read, and which are known by their extension and not read."""

from wordgaze.core.errors import ImageError

EXTENSIONS = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif",
        ".tiff", ".avif", ".avifs", ".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc",
    }
)  # fmt: skip
"""The extensions of the files that are taken for images, wherever files are searched: in lower case, with the dot."""
RAW_EXTENSIONS = frozenset(
    {
        ".raw", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef",
        ".x3f", ".3fr", ".erf", ".kdc", ".mrw", ".srw",
    }
)  # fmt: skip
"""The files of camera sensors. Many are TIFF files of which other programs show a thumbnail, which is not the image."""
UNREAD_EXTENSIONS = RAW_EXTENSIONS | {
    ".svg", ".svgz", ".psd", ".psb", ".xcf", ".eps", ".ai", ".pdf", ".ico", ".icns", ".tga", ".pcx", ".ppm", ".pgm",
    ".pbm", ".pnm", ".hdr", ".exr", ".dds", ".dcm", ".dicom", ".nii", ".fits", ".bpg", ".wdp", ".jxr", ".hdp", ".emf",
    ".wmf", ".djvu", ".qoi", ".mp4", ".mov", ".webm",
}  # fmt: skip
"""The extensions of images and films that are not read; a file with one is there, and is not missing."""
FORMAT_NAMES = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, HEIC or JPEG XL"
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000")
"""Untrusted bytes reach only these decoders of Pillow: some of its others start programs (EPS: Ghostscript)."""


class UnreadFormatError(ImageError):
    """An image that is sound, as far as can be told, is of a format that is not read."""
