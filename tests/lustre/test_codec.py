# SPDX-License-Identifier: LGPL-2.1-or-later
"""The codec beside `lfs getstripe -y`: what the driver reads, by name and by descriptor, is what Lustre's own tool reads."""
import json
import os
import unittest

import lustre
from folder import Folder
from lustre import KIB, MIB, content, sh, write

PATTERNS = {'raid0': 1, 'mdt': 0x100, 'overstriped': 0x200, 'released': 0x80000000}
FLAGS = {'init': 0x10, 'stale': 0x1, 'prefer': 0x6, 'extension': 0x40, 'nosync': 0x20}


def number(text):
    return -1 if text == 'EOF' else int(text, 0)


def getstripe(path):
    """What `lfs getstripe -y` says, as layout_json has it."""
    comps = []
    comp = None
    for line in sh('lfs', 'getstripe', '-y', path).splitlines():
        key, _, value = line.strip().lstrip('- ').partition(':')
        value = value.strip()
        if key == 'lcme_id' or (key == 'lmm_stripe_count' and comp is None):
            comp = {'id': 0, 'flags': 0x10, 'start': 0, 'end': -1, 'pool': '', 'objects': []}
            comps.append(comp)
        if key == 'lcme_id':
            comp['id'] = number(value)
        elif key == 'lcme_flags':
            comp['flags'] = sum(FLAGS[f] for f in value.split(',') if f in FLAGS)
        elif key == 'lcme_extent.e_start':
            comp['start'] = number(value)
        elif key == 'lcme_extent.e_end':
            comp['end'] = number(value)
        elif key == 'lmm_stripe_size' or key == 'lmm_extension_size':
            comp['stripe_size'] = number(value)
        elif key == 'lmm_pattern':
            comp['pattern'] = sum(PATTERNS[p] for p in value.split(','))
        elif key == 'lmm_pool':
            comp['pool'] = value
        elif key == 'l_ost_idx':
            comp['objects'].append({'ost': number(value)})
        elif key == 'l_fid':
            comp['objects'][-1]['fid'] = value
    return comps


class Codec(Folder):
    KINDS = {
        'plain': ('-c', '1', '-o', '3'),
        'wide': ('-c', '-1', '-S', '64K'),
        'over': ('-C', '9', '-S', '64K'),
        'pfl': ('-E', '1M', '-c', '1', '-E', '16M', '-c', '2', '-E', '-1', '-c', '4'),
        'dom': ('-E', '64K', '-L', 'mdt', '-E', '-1', '-c', '2'),
    }

    def check(self, path):
        program = os.path.join(os.path.dirname(lustre.BUILD), 'tests', 'lustre', 'layout_json')
        if not os.path.exists(program):
            self.skipTest(f'{program} was not built')
        want = getstripe(path)
        got = json.loads(sh(program, path))
        for form in ('name', 'file'):
            comps = got[form]['comps']
            self.assertEqual(len(comps), len(want), form)
            for a, b in zip(comps, want):
                for key in b:
                    self.assertEqual(a[key], b[key], f'{path} {form} {key}: {a} {b}')

    def test_every_kind(self):
        for name, stripe in self.KINDS.items():
            for size in (0, 100 * KIB, 20 * MIB):
                with self.subTest(name=name, size=size):
                    self.check(self.make(f'{name}{size}', size, *stripe))

    def test_mirrors(self):
        path = self.path('flr')
        sh('lfs', 'mirror', 'create', '-N', '-c', '1', '-N', '-E', '1M', '-c', '1', '-E', '-1', '-c', '2', path)
        write(path, content(3 * MIB, 1))
        self.check(path)
        sh('lfs', 'mirror', 'resync', path)
        self.check(path)


if __name__ == '__main__':
    unittest.main()
