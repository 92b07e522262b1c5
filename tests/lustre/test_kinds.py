# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every kind of file off its sources: OSTs 0 and 1. Data, FID, attributes and layout stay; only the OSTs change."""
import os
import re
import shutil
import subprocess
import time
import unittest

import lustre
from folder import SOURCES, Folder
from lustre import KIB, MIB, content, facts, layout, leftovers, mirrors_verify, osts_of, sh, write


class Striped(Folder):
    def test_plain_files_of_every_small_size(self):
        sizes = [0, 1, 100, 4095, 4096, 4097, 65536, MIB - 1, MIB, MIB + 1, 3 * MIB + 5]
        self.check_moved([self.make(f'f{n}', n, '-c', '1', '-o', '0') for n in sizes])

    def test_large_files_with_odd_ends(self):
        self.check_moved([self.make('a', 40 * MIB + 4097, '-c', '1', '-o', '1'),
                          self.make('b', 70 * MIB + 1, '-c', '3', '-S', '1M', '-o', '0,3,1'),
                          self.make('c', 64 * MIB, '-c', '2', '-S', '64K', '-o', '0,2')])

    def test_stripes_stay_in_order_and_apart(self):
        path = self.make('f', 5 * MIB + 7, '-c', '4', '-S', '256K', '-o', '2,0,3,1')
        self.check_moved([path])
        osts = layout(path)[0].osts
        self.assertEqual((osts[0], osts[2]), (2, 3))
        self.assertEqual(len(set(osts)), 4)

    def test_overstriped(self):
        path = self.make('f', 3 * MIB, '-C', '5', '-S', '64K', '-o', '0,0,1,2,2')
        self.check_moved([path])
        self.assertEqual(len(layout(path)[0].osts), 5)

    def test_as_many_stripes_as_osts_become_overstriped(self):
        path = self.make('f', 3 * MIB, '-c', str(len(self.mount.osts)), '-S', '64K')
        self.check_moved([path], keeps_shape=False)
        self.assertEqual(len(layout(path)[0].osts), len(self.mount.osts))

    def test_without_an_object_or_a_layout(self):
        os.mknod(self.path('no-layout'), 0o644)
        sh('lfs', 'setstripe', '-c', '1', '-o', '0', self.path('empty'))
        report = self.evacuate()
        self.assertEqual(osts_of(self.path('empty')) & SOURCES, set())
        self.assertEqual(report['progress']['discovered'], 1 + bool(osts_of(self.path('no-layout')) & SOURCES))


class Composite(Folder):
    PFL = ('-E', '1M', '-c', '1', '-o', '0', '-E', '4M', '-c', '2', '-S', '512K', '-o', '2,1', '-E', '-1', '-c', '3', '-S', '1M', '-o', '0,3,4')

    def test_pfl_with_one_two_and_all_components(self):
        self.check_moved([self.make(f'f{n}', n, *self.PFL) for n in (100 * KIB, 3 * MIB, 9 * MIB + 3)])

    def test_components_that_come_later_land_off_the_sources_that_are_named(self):
        path = self.make('f', 100 * KIB, *self.PFL)
        self.check_moved([path])
        write(path, content(4 * MIB, 'later'), 3 * MIB)
        with open(path, 'rb') as f:
            data = f.read()
        self.assertEqual(data, content(100 * KIB, 'f').ljust(3 * MIB, b'\0') + content(4 * MIB, 'later'))
        self.assertEqual(len([c for c in layout(path) if c.osts]), 3)

    def test_self_extending(self):
        code, out = sh('lfs', 'setstripe', '-E', '1G', '-z', '64M', '-c', '1', '-i', '0', self.path('f'), check=False)
        if code != 0:
            self.skipTest(out)
        write(self.path('f'), content(2 * MIB, 'sel'))
        if not osts_of(self.path('f')) & SOURCES:
            self.skipTest('the first object landed elsewhere')
        self.check_moved([self.path('f')])

    def test_dom_keeps_its_part_on_the_mdt(self):
        dom = ('-E', '64K', '-L', 'mdt', '-E', '-1', '-c', '1', '-o', '0')
        paths = [self.make(f'f{n}', n, *dom) for n in (65 * KIB, MIB, 20 * MIB + 9)]
        only = self.make('only', 30 * KIB, *dom)
        before = facts(only)
        report = self.check_moved(paths)
        self.assertEqual(report['progress']['discovered'], len(paths), 'a file with data on the MDT alone is no candidate')
        self.assertEqual(facts(only), before)
        for p in paths:
            self.assertTrue(layout(p)[0].pattern & lustre.MDT)

    def test_foreign_is_left_alone(self):
        code, out = sh('lfs', 'setstripe', '--foreign=none', '--xattr', 'blob', '--flags', '0xda08', self.path('f'), check=False)
        if code != 0:
            self.skipTest(out)
        self.assertEqual(self.evacuate()['progress']['discovered'], 0)


class Mirrored(Folder):
    def mirrored(self, name, size, *parts):
        sh('lfs', 'mirror', 'create', *[w for part in parts for w in ('-N', *part)], self.path(name))
        write(self.path(name), content(size, name))
        sh('lfs', 'mirror', 'resync', self.path(name))
        ok, out = mirrors_verify(self.path(name))
        self.assertTrue(ok, out)
        return self.path(name)

    def check_mirrors(self, path, n):
        comps = layout(path)
        self.assertEqual(len({c.id >> 16 for c in comps}), n, comps)
        self.assertFalse([c for c in comps if c.flags & lustre.STALE], f'stale: {comps}')
        ok, out = mirrors_verify(path)
        self.assertTrue(ok, out)
        self.assertNotIn('trusted.drover.mirror', os.listxattr(path))

    def test_one_mirror_on_a_source(self):
        path = self.mirrored('f', 3 * MIB + 5, ('-c', '1', '-o', '0'), ('-c', '2', '-S', '1M', '-o', '2,3'))
        self.check_moved([path])
        self.check_mirrors(path, 2)

    def test_all_mirrors_on_sources(self):
        path = self.mirrored('f', MIB + 5, ('-c', '1', '-o', '0'), ('-c', '1', '-o', '1'))
        self.check_moved([path])
        self.check_mirrors(path, 2)
        self.assertEqual(len(osts_of(path)), 2, 'two mirrors on one OST')

    def test_three_mirrors_with_components(self):
        path = self.mirrored('f', 5 * MIB, ('-E', '1M', '-c', '1', '-o', '2', '-E', '-1', '-c', '2', '-o', '3,1'),
                             ('-c', '1', '-o', '0'), ('-c', '1', '-o', '4'))
        self.check_moved([path])
        self.check_mirrors(path, 3)

    def test_a_stale_mirror_on_a_source_is_in_sync_afterwards(self):
        path = self.mirrored('f', MIB, ('-c', '1', '-o', '2'), ('-c', '1', '-o', '0'))
        write(path, content(4096, 'newer'), 8192)
        self.assertTrue([c for c in layout(path) if c.flags & lustre.STALE])
        before = facts(path)
        report = self.evacuate()
        self.assertEqual(report['progress']['succeeded'], 1)
        self.assertFalse(osts_of(path) & SOURCES)
        self.assertEqual(facts(path), before)

    def note(self, path, old, ost):
        """What a mover leaves that dies after it merged the mirror on that OST, to take the place of an old one."""
        text = sh('lfs', 'getstripe', '-y', path)
        m = re.search(r'l_ost_idx: %d\s+l_fid:\s+(0x[0-9a-f]+):(0x[0-9a-f]+)' % ost, text)
        os.setxattr(path, 'trusted.drover.mirror', b'1 %d %d %d' % (old, int(m[1], 16), int(m[2], 16)))

    def test_what_a_killed_mover_left_is_ended(self):
        path = self.mirrored('f', MIB + 5, ('-c', '1', '-o', '0'), ('-c', '1', '-o', '2'))
        before = facts(path)
        sh('lfs', 'mirror', 'extend', '-N', '-c', '1', '-o', '4', path)
        self.note(path, 1, 4)
        self.evacuate()
        self.check_mirrors(path, 2)
        self.assertEqual(osts_of(path), {2, 4})
        self.assertEqual(facts(path)['md5'], before['md5'])

    def test_a_forgotten_note_drops_no_mirror(self):
        path = self.mirrored('f', MIB + 5, ('-c', '1', '-o', '0'), ('-c', '1', '-o', '2'))
        other = self.mirrored('g', MIB + 5, ('-c', '1', '-o', '4'), ('-c', '1', '-o', '2'))
        self.note(other, 1, 4)
        os.setxattr(path, 'trusted.drover.mirror', os.getxattr(other, 'trusted.drover.mirror'))
        self.check_moved([path])
        self.check_mirrors(path, 2)

    def test_mirror_with_dom(self):
        code, out = sh('lfs', 'mirror', 'create', '-N', '-E', '64K', '-L', 'mdt', '-E', '-1', '-c', '1', '-o', '2', '-N', '-c', '1', '-o', '0',
                       self.path('f'), check=False)
        if code != 0:
            self.skipTest(out)
        write(self.path('f'), content(3 * MIB, 'domflr'))
        sh('lfs', 'mirror', 'resync', self.path('f'))
        self.check_moved([self.path('f')])
        self.check_mirrors(self.path('f'), 2)


class Pools(Folder):
    def setUp(self):
        super().setUp()
        self.pool = f'{self.mount.fsname}.drvtest'
        code, out = sh('lctl', 'pool_new', self.pool, check=False)
        if code != 0:
            self.skipTest(f'no pool can be made from here: {out}')
        self.addCleanup(self.remove_pool)
        for ost in (0, 2, 3):
            sh('lctl', 'pool_add', self.pool, self.mount.ost_name(ost))
        lustre.until('the pool reaches the client', lambda: sh('lfs', 'pool_list', self.pool, check=False)[1].count('OST') == 3)

    def remove_pool(self):
        for ost in (0, 2, 3):
            sh('lctl', 'pool_remove', self.pool, self.mount.ost_name(ost), check=False)
        sh('lctl', 'pool_destroy', self.pool, check=False)

    def test_new_objects_stay_in_the_pool(self):
        paths = [self.make(f'f{i}', 70 * KIB, '-c', '1', '-p', 'drvtest', '-o', '0') for i in range(20)]
        self.check_moved(paths)
        for p in paths:
            self.assertTrue(osts_of(p) <= {2, 3}, layout(p))
            self.assertEqual(layout(p)[0].pool, 'drvtest')

    def test_a_pool_of_sources_only_is_told(self):
        path = self.make('f', 70 * KIB, '-c', '1', '-p', 'drvtest', '-o', '0')
        for ost in (2, 3):
            sh('lctl', 'pool_remove', self.pool, self.mount.ost_name(ost))
        lustre.until('the pool shrinks', lambda: sh('lfs', 'pool_list', self.pool, check=False)[1].count('OST') == 1)
        before = facts(path)
        report = self.evacuate(expect='completed_with_leftovers')
        self.assertEqual(leftovers(report)['f'], ('no_space', 'target', 'ENOSPC'))
        self.assertEqual(facts(path), before)


class Attributes(Folder):
    def test_owner_mode_times_xattrs_acl_and_project(self):
        path = self.make('f', 70 * KIB, '-c', '1', '-o', '0')
        os.chown(path, 1234, 2345)
        os.chmod(path, 0o4751)
        os.setxattr(path, 'user.mine', b'kept\0\xff')
        sh('lfs', 'project', '-p', '4242', path, check=False)
        if shutil.which('setfacl'):
            sh('setfacl', '-m', 'u:99:rwx', path)
        os.utime(path, (1_000_000_000, 1_100_000_000))
        self.check_moved([path])

    def test_project_quota_follows_the_objects(self):
        path = self.make('f', 4 * MIB, '-c', '1', '-o', '0')
        code, out = sh('lfs', 'project', '-p', '4243', path, check=False)
        if code != 0:
            self.skipTest(out)

        def used():
            sh('sync')
            text = sh('lfs', 'quota', '-q', '-p', '4243', self.mount.path)
            return int(text.split()[1].rstrip('*'))
        if lustre.until('quota counts', used, timeout=20) == 0:
            self.skipTest('project quota is not counted here')
        before = used()
        self.check_moved([path])
        time.sleep(1)
        self.assertGreaterEqual(used(), before - 64)

    def test_hard_links_move_once(self):
        path = self.make('f', 70 * KIB, '-c', '1', '-o', '0')
        os.mkdir(self.path('d'))
        os.link(path, self.path('d/second'))
        os.link(path, self.path('third'))
        report = self.check_moved([path, self.path('d/second'), self.path('third')])
        self.assertEqual(report['progress']['succeeded'], 1, report['progress'])

    def test_names_are_bytes(self):
        names = [b'\xff\n', b"a'b\"c", b' lead', b'-dash', b'tab\t', b'back\\slash', '\u00fc'.encode(), b'x' * 255]
        for i, name in enumerate(names):
            sh('lfs', 'setstripe', '-c', '1', '-o', '0', os.fsencode(self.dir) + b'/' + name)
            with open(os.fsencode(self.dir) + b'/' + name, 'r+b') as f:
                f.write(content(5000, i))
        before = {n: lustre.digest(os.fsencode(self.dir) + b'/' + n) for n in names}
        report = self.evacuate()
        self.assertEqual(report['progress']['succeeded'], len(names))
        for name in names:
            self.assertEqual(lustre.digest(os.fsencode(self.dir) + b'/' + name), before[name], name)

    def test_holes_stay_holes(self):
        sparse = self.path('sparse')
        sh('lfs', 'setstripe', '-c', '2', '-S', '1M', '-o', '0,2', sparse)
        write(sparse, content(4096, 'island'), 20480000)
        os.truncate(sparse, 100 * MIB + 7)
        small = self.path('small')
        sh('lfs', 'setstripe', '-c', '1', '-o', '0', small)
        write(small, b'x', 700 * KIB)
        blocks = {p: os.stat(p).st_blocks for p in (sparse, small)}
        self.check_moved([sparse, small])
        for p in blocks:
            self.assertLessEqual(os.stat(p).st_blocks, blocks[p] + 64, p)

    def test_striped_directory_and_several_mdts(self):
        code, out = sh('lfs', 'mkdir', '-c', '2', self.path('striped'), check=False)
        if code != 0:
            self.skipTest(out)
        sh('lfs', 'mkdir', '-i', '1', self.path('remote'))
        paths = [self.make(f'{d}/f{i}', 5000, '-c', '1', '-o', '0') for d in ('striped', 'remote') for i in range(20)]
        self.check_moved(paths)

    def test_verify_reads_back(self):
        self.check_moved([self.make('a', 70 * KIB, '-c', '1', '-o', '0'), self.make('b', 33 * MIB + 11, '-c', '2', '-o', '0,1')],
                         conf='verify = yes\n')


class Refused(Folder):
    def test_immutable_and_append_only(self):
        a, b = self.make('immutable', 5000, '-c', '1', '-o', '0'), self.make('append', 5000, '-c', '1', '-o', '0')
        sh('chattr', '+i', a)
        sh('chattr', '+a', b)
        report = self.evacuate(expect='completed_with_leftovers')
        left = leftovers(report)
        self.assertEqual({n: left[n][0] for n in left}, {'immutable': 'refused', 'append': 'refused'})

    def test_a_running_binary(self):
        path = self.path('sleep')
        sh('lfs', 'setstripe', '-c', '1', '-o', '0', path)
        shutil.copy('/bin/sleep', path)
        os.chmod(path, 0o755)
        p = subprocess.Popen([path, '600'])
        try:
            left = leftovers(self.evacuate(expect='completed_with_leftovers'))
            self.assertEqual(left['sleep'], ('refused', 'open', 'ETXTBSY'))
            self.assertIsNone(p.poll())
        finally:
            p.kill()
            p.wait()


if __name__ == '__main__':
    unittest.main()
