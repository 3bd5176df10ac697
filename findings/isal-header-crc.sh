#!/usr/bin/env bash
# isal 1.9.1: a valid gzip file with a header CRC is refused unless its whole header comes in one chunk.
# isal_zlib is documented as a drop-in replacement of Python's zlib, which reads the file however it is cut.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet isal==1.9.1
cat >"$work/try.py" <<'PYTHON'
import importlib.metadata
import struct
import sys
import zlib

from isal import isal_zlib

content = b"".join(b"%d,row\n" % n for n in range(1000))
header = b"\x1f\x8b\x08\x02" + bytes(6)  # FHCRC is set (RFC 1952, 2.3.1)
header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
raw = zlib.compressobj(6, zlib.DEFLATED, -15)
body = raw.compress(content) + raw.flush()
data = header + body + struct.pack("<II", zlib.crc32(content), len(content))


def read(library, cut):
    """What the library makes of the file, given in two chunks."""
    reader = library.decompressobj(wbits=31)
    try:
        read = reader.decompress(data[:cut]) + reader.decompress(data[cut:])
    except library.error as error:
        return str(error)
    return "read" if read == content and reader.eof else "wrong content"


print("isal", importlib.metadata.version("isal"), "and Python's zlib", zlib.ZLIB_RUNTIME_VERSION)
found = {}
for cut in range(len(header) + 1):
    found[cut] = read(zlib, cut), read(isal_zlib, cut)
    print(f"first chunk of {cut:2} bytes: zlib: {found[cut][0]}; isal: {found[cut][1]}")
same = all(z == "read" for z, _ in found.values())
same &= found[0][1] == found[len(header)][1] == "read"
same &= all(found[cut][1] == "Error -6 Incorrect checksum found" for cut in range(1, 12))
sys.exit(0 if same else "The behaviour has changed.")
PYTHON
"$work/venv/bin/python" "$work/try.py"
