# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a clone asks of Lustre: identities, MDTs, layouts, released files, and metadata, by tests/lustre/tree_probe.c."""
import os
import re
import subprocess
import unittest

import lustre
from folder import Folder
from lustre import MIB, shape, sh

PROBE = os.path.join(os.path.dirname(lustre.BUILD), 'tests', 'lustre', 'tree_probe')


def probe(*args, error=None):
    code, out = sh(PROBE, *args, check=False)
    if (code != 0) != (error is not None) or (error and out.strip() != error):
        raise AssertionError(f'{args}: {code} {out}')
    return out.strip()


def asked(path):
    """The shape of a layout, with stripe counts as they were asked for."""
    return shape(path)


@unittest.skipUnless(os.path.exists(PROBE), 'tree_probe was not built')
class CloneFs(Folder):
    KINDS = {
        'plain': ('-c', '1', '-S', '128K'),
        'wide': ('-c', '2', '-S', '1M'),
        'pfl': ('-E', '1M', '-c', '1', '-E', '16M', '-c', '2', '-S', '2M', '-E', '-1', '-c', '4'),
        'dom': ('-E', '64K', '-L', 'mdt', '-E', '-1', '-c', '2'),
    }

    def test_identity(self):
        one = probe('identity', self.dir)
        self.assertRegex(one, r'^lustre:.* dir 0x[0-9a-f]+:0x[0-9a-f]+:0x0 kind=1 time_ns=1000000000 there=1$')
        other = self.path('other')
        os.mkdir(other)
        self.assertNotEqual(one, probe('identity', other))
        second = os.environ.get('LUSTRE_DIR2')
        if second:
            there = os.path.join(second, os.path.relpath(self.dir, os.environ['LUSTRE_DIR']))
            self.assertEqual(one, probe('identity', there))

    def test_dot_lustre_is_no_part_of_a_tree(self):
        probe('dir', os.environ['LUSTRE_DIR'], '.lustre/fid', error='EXDEV')

    def test_mkdir_on_every_mdt(self):
        mdts = probe('mdts', self.dir).split()
        self.assertEqual(mdts, re.findall(r'^(\d+):', sh('lfs', 'mdts', self.dir), re.M))
        for mdt in mdts:
            name = f'on{mdt}'
            probe('mkdir', self.dir, name, mdt)
            self.assertEqual(sh('lfs', 'getdirstripe', '-m', self.path(name)).strip(), mdt)
            self.assertEqual(os.stat(self.path(name)).st_mode & 0o7777, 0o751 & ~self.umask())
            probe('mkdir', self.dir, name, mdt, error='EEXIST')
        probe('mkdir', self.dir, 'nowhere', 4000, error='ENODEV')

    @staticmethod
    def umask():
        now = os.umask(0o022)
        os.umask(now)
        return now

    def test_a_new_file_with_the_layout_of_another(self):
        for name, stripe in self.KINDS.items():
            with self.subTest(name=name):
                path = self.make(name, 3 * MIB, *stripe)
                probe('create', self.dir, name + '.new', path)
                subprocess.run(['cp', path, self.path(name + '.new')], check=True)
                self.assertEqual(asked(path), asked(self.path(name + '.new')))

    def test_a_new_file_gets_the_default(self):
        sh('lfs', 'setstripe', '-c', '3', '-S', '256K', self.dir)
        probe('create', self.dir, 'new')
        comp = lustre.layout(self.path('new'))[0]
        self.assertEqual((len(comp.osts), comp.stripe_size), (3, 256 << 10))

    def test_defaults(self):
        kinds = dict(self.KINDS, mirrored=('-N', '-c', '1', '-N', '-c', '2'))
        to = self.path('to')
        os.mkdir(to)
        for name, stripe in kinds.items():
            with self.subTest(name=name):
                of = self.path(name)
                os.mkdir(of)
                probe('default', to, of, error='ENODATA')
                sh('lfs', 'setstripe', *stripe, of)
                probe('default', to, of)
                self.assertEqual(sh('lfs', 'getstripe', '-d', to).splitlines()[1:],
                                 sh('lfs', 'getstripe', '-d', of).splitlines()[1:])
        probe('default', to)
        self.assertNotIn('lustre.lov', os.listxattr(to))
        probe('default', to)

    def test_layouts_do_not_exist_elsewhere(self):
        path = self.make('file', 1)
        probe('mdts', '/tmp', error='EOPNOTSUPP')
        probe('mkdir', '/tmp', 'drover-test', 0, error='EOPNOTSUPP')
        probe('create', '/tmp', 'drover-test', path, error='EOPNOTSUPP')
        self.assertFalse(os.path.exists('/tmp/drover-test'))

    def test_metadata(self):
        a, b = self.make('a', 10), self.make('b', 10)
        os.chown(a, 5, 6)
        sh('setfacl', '-m', 'u:7:rw', a)
        os.chmod(a, 0o6754)
        os.setxattr(a, 'user.x', b'1')
        os.setxattr(a, 'trusted.x', b'2')
        sh('lfs', 'project', '-p', '77', a)
        os.utime(a, (1000, 2000))
        self.assertRegex(probe('meta', a, b), r'^differed=\d+ differs=0 failed=0 project=77$')
        self.assertEqual(os.stat(b).st_mode, os.stat(a).st_mode)
        for flags in ('+i', '+a', '-ia'):
            sh('chattr', flags, a)
            self.assertRegex(probe('meta', a, b), r'^differed=16 differs=0 failed=0 ')
        # what the directory handed down is taken away
        os.mkdir(self.path('p'))
        sh('lfs', 'project', '-p', '5', '-s', self.path('p'))
        sh('setfacl', '-d', '-m', 'u:9:rw', self.path('p'))
        inside = self.make('p/inside', 10)
        sh('lfs', 'project', '-p', '0', a)
        self.assertRegex(probe('meta', a, inside), r'differs=0 failed=0 project=0$')


if __name__ == '__main__':
    unittest.main()
