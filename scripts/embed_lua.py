#!/usr/bin/env python3
"""Makes one C file of the scripts: embed_lua.py OUT COMMON SCRIPT... COMMON stands before each, but before those of the
HSM streams (hsm_*), which have nothing to do with campaigns."""
import pathlib
import sys

out, common, scripts = sys.argv[1], sys.argv[2], sys.argv[3:]
head = pathlib.Path(common).read_bytes()


def literal(data: bytes) -> str:
    lines = []
    for line in data.splitlines(keepends=True):
        text = ''.join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else '\\%03o' % b for b in line)
        lines.append('\t"%s"' % text)
    return '\n'.join(lines)


with open(out, 'w', encoding='ascii') as f:
    f.write('#include "store/scripts.h"\n')
    for script in scripts:
        path = pathlib.Path(script)
        before = b'' if path.stem.startswith('hsm_') else head
        body = b'\n'.join(l for l in (before + path.read_bytes()).splitlines()
                          if l.strip() and not l.lstrip().startswith(b'--'))
        f.write('struct dr_script dr_script_%s = {\n\t.name = "%s",\n\t.text =\n%s,\n};\n'
                % (path.stem, path.stem, literal(body + b'\n')))
