# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clone campaigns from and to a real Lustre, compared by rsync and, in what only Lustre has, by lfs."""
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import lustre
from clones import Site, differences, empty, fill_lustre, fill_plain, inodes, projects
from lustre import KIB, MIB, Mount, content, layout, sh, shape, until, write

DATA = ('pfl', 'wide', 'dom', 'overstriped')


class OnTwo(unittest.TestCase):
    """src on LUSTRE_DIR, dst on LUSTRE_SECOND, local on what holds $TMPDIR."""

    @classmethod
    def setUpClass(cls):
        why = lustre.why_not()
        if not why and not os.environ.get('LUSTRE_SECOND'):
            why = 'LUSTRE_SECOND names no mount of another file system'
        if not why and not shutil.which('rsync'):
            why = 'no rsync in the PATH'
        if why:
            raise unittest.SkipTest(why)
        cls.one, cls.two = Mount(os.environ['LUSTRE_DIR']), Mount(os.environ['LUSTRE_SECOND'])

    def setUp(self):
        self.src, self.dst = self.one.mkdir(), self.two.mkdir()
        self.local = tempfile.mkdtemp(prefix='drover-local.')
        for path in (self.src, self.dst, self.local):
            self.addCleanup(lambda path=path: (empty(path), os.rmdir(path)))
        self.site = Site(self.src, self.dst)
        self.addCleanup(self.site.close)

    def file(self, name, size, *stripe):
        path = os.path.join(self.src, name)
        if stripe:
            sh('lfs', 'setstripe', *stripe, path)
        write(path, content(size, name))
        return path

    def at(self, name):
        return os.path.join(self.dst, name)

    def check_same(self, src, dst):
        self.assertEqual(differences(src, dst), [])

    def check_projects(self, src, dst):
        a, b = projects(src), projects(dst)
        self.assertEqual({p: (a.get(p), b.get(p)) for p in a.keys() | b.keys() if a.get(p) != b.get(p)}, {})

    def check_second_pass(self, src, dst):
        """It touches nothing."""
        before = inodes(dst)
        report = self.site.run(src=src, dst=dst)
        self.assertEqual(report['progress']['succeeded'], 0)
        self.assertEqual(report['progress']['bytes_succeeded'], 0)
        self.assertEqual(inodes(dst), before)


class Clones(OnTwo):
    # --- trees

    def test_lustre_to_lustre(self):
        fill_plain(self.src)
        fill_lustre(self.src)
        self.site.run()
        self.check_same(self.src, self.dst)
        self.check_projects(self.src, self.dst)
        for name in DATA:
            a, b = (os.path.join(top, 'remote', name) for top in (self.src, self.dst))
            self.assertEqual(shape(a), shape(b), name)
        for name in ('default', 'default/inherits', 'striped/d0', 'no-default'):
            a, b = (sh('lfs', 'getstripe', '-d', os.path.join(top, name)).splitlines() for top in (self.src, self.dst))
            self.assertEqual(a, b, name)
        self.check_second_pass(self.src, self.dst)
        self.site.run('--pass', 'verify')

    def test_lustre_to_local_to_lustre(self):
        fill_plain(self.src)
        fill_lustre(self.src)
        shutil.rmtree(os.path.join(self.src, 'project'))  # the local one may hold none
        self.site.run(dst=self.local)
        self.check_same(self.src, self.local)
        self.check_second_pass(self.src, self.local)
        self.site.run(src=self.local)
        self.check_same(self.local, self.dst)
        self.check_same(self.src, self.dst)
        self.check_second_pass(self.local, self.dst)
        self.site.run('--pass', 'verify', src=self.local)

    def test_local_to_lustre_with_times_between_seconds(self):
        fill_plain(self.local)
        self.site.run(src=self.local)
        self.check_second_pass(self.local, self.dst)
        self.site.run('--pass', 'verify', src=self.local)

    def test_into_a_file_system_of_several_mdts(self):
        for i in range(8):
            os.makedirs(f'{self.dst}/d{i}/below')
            write(f'{self.dst}/d{i}/below/file', b'x' * i)
        os.link(f'{self.dst}/d0/below/file', f'{self.dst}/d1/below/link')
        os.link(f'{self.dst}/d0/below/file', f'{self.dst}/d2/link')
        self.site.run(src=self.dst, dst=self.src)
        self.check_same(self.dst, self.src)
        mdts = [sh('lfs', 'getdirstripe', '-m', f'{self.src}/d{i}').strip() for i in range(8)]
        there = re.findall(r'^(\d+):', sh('lfs', 'mdts', self.src), re.M)
        self.assertEqual(sorted(mdts), sorted(there * (8 // len(there))))
        self.check_second_pass(self.dst, self.src)

    def test_a_tree_that_changed_between_two_passes(self):
        fill_plain(self.src)
        fill_lustre(self.src)
        self.site.run('--pass', 'copy')
        os.unlink(f'{self.src}/f5')
        shutil.rmtree(f'{self.src}/striped')
        write(f'{self.src}/remote/pfl', b'other', at=MIB)
        os.rename(f'{self.src}/deep/er', f'{self.src}/remote/er')
        sh('lfs', 'project', '-p', '79', f'{self.src}/project/other')
        os.unlink(f'{self.src}/f2')
        write(f'{self.src}/f2', b'now a file of its own')
        self.site.run()
        self.check_same(self.src, self.dst)
        self.check_projects(self.src, self.dst)

    # --- layouts

    def test_a_pool_that_the_target_lacks(self):
        pool = f'{self.one.fsname}.clonetest'
        sh('lctl', 'pool_new', pool)
        self.addCleanup(lambda: (sh('lctl', 'pool_remove', pool, 'OST[0-1]'), sh('lctl', 'pool_destroy', pool)))
        sh('lctl', 'pool_add', pool, 'OST[0-1]')
        until('the client knows the pool', lambda: sh('lfs', 'setstripe', '-c', '2', '-p', 'clonetest', f'{self.src}/p', check=False)[0] == 0,
              every=1)
        write(f'{self.src}/p', content(MIB, 1))
        os.mkdir(f'{self.src}/d')
        sh('lfs', 'setstripe', '-c', '2', '-p', 'clonetest', f'{self.src}/d')
        self.site.run()
        self.check_same(self.src, self.dst)
        comp = layout(self.at('p'))[0]
        self.assertEqual((len(comp.osts), comp.pool), (2, ''))
        self.assertNotIn('clonetest', sh('lfs', 'getstripe', '-d', self.at('d')))
        self.assertEqual(sh('lfs', 'getstripe', '-d', '-c', self.at('d')).strip(), '2')
        self.check_second_pass(self.src, self.dst)

    def test_the_source_file_systems_default_is_no_directorys_own(self):
        before = sh('lfs', 'getstripe', '-d', '--raw', '-c', self.one.path, check=False)
        if 'lustre.lov' in os.listxattr(self.one.path) or 'trusted.lov' in os.listxattr(self.one.path):
            self.skipTest(f'{self.one.path} has a default already: {before}')
        os.mkdir(f'{self.src}/plain')
        os.mkdir(f'{self.src}/own')
        sh('lfs', 'setstripe', '-E', '1M', '-c', '1', '-E', '-1', '-c', '2', self.one.path)
        self.addCleanup(sh, 'lfs', 'setstripe', '-d', self.one.path)
        sh('lfs', 'setstripe', '-c', '2', '-S', '256K', f'{self.src}/own')
        self.site.run()
        self.assertIn('trusted.lov', os.listxattr(self.at('own')))
        self.assertNotIn('trusted.lov', os.listxattr(self.at('plain')))

    def test_layout_default_is_the_target_directorys(self):
        self.file('wide', MIB, '-c', '4')
        sh('lfs', 'setstripe', '-c', '2', '-S', '128K', self.dst)
        self.site.run('--layout', 'default')
        comp = layout(self.at('wide'))[0]
        self.assertEqual((len(comp.osts), comp.stripe_size), (2, 128 * KIB))

    def test_layout_keep_asks_for_more_stripes_than_there_are_osts(self):
        self.file('wide', MIB, '-c', '4')
        self.file('all', MIB, '-c', '-1')
        self.site.run()
        self.check_same(self.src, self.dst)
        self.assertEqual(len(layout(self.at('wide'))[0].osts), len(self.two.osts))
        self.assertEqual(len(layout(self.at('all'))[0].osts), len(self.two.osts))

    def test_layout_of_rules(self):
        self.file('small', 1000, '-c', '2')
        self.file('large', 2 * MIB, '-c', '1')
        rules = self.site.base / 'rules'
        rules.write_text('64K -c 1 -S 64K # small ones\n- -c 2 -S 1M\n')
        self.site.run('--layout', rules)
        self.check_same(self.src, self.dst)
        comps = [layout(self.at(name))[0] for name in ('small', 'large')]
        self.assertEqual([(len(c.osts), c.stripe_size) for c in comps], [(1, 64 * KIB), (2, MIB)])

    # --- crashes and losses

    def test_workers_that_are_killed_lose_nothing(self):
        fill_plain(self.src)
        fill_lustre(self.src)
        self.site.options = {'scan_batch_size': 5, 'chunk_bytes': '1M', 'claim_timeout': 5}
        name = self.site.start()
        for i in range(3):
            d = self.site.daemon(name)
            time.sleep(random.Random(i).uniform(2, 5))
            d.kill()
            d.wait()
        self.site.end(name, self.site.daemon(name))
        self.site.run()
        self.check_same(self.src, self.dst)
        self.assertEqual(sh('find', self.dst, '-name', '.drover*'), '')

    def extra_mount(self):
        """A mount of the target's file system, of this test's own."""
        device = next(line.split()[0] for line in open('/proc/mounts') if line.split()[1] == self.two.path)
        place = tempfile.mkdtemp(prefix='drover-mnt.')
        sh('mount', '-t', 'lustre', device, place)
        self.addCleanup(lambda: (sh('umount', '-f', place, check=False), os.rmdir(place)))
        return place

    def test_a_target_that_is_not_mounted_is_not_filled(self):
        place = self.extra_mount()
        self.file('f', 10)
        dst = os.path.join(place, os.path.basename(self.dst))
        name = self.site.start(dst=dst)
        sh('umount', place)
        self.assertNotEqual(self.site.daemon(name).wait(lustre.PATIENCE), 0)
        self.assertEqual(os.listdir(place), [])
        self.assertIn('tree-refused', self.site.log(name))
        os.mkdir(dst)  # the local directory of the same name is not it
        self.assertNotEqual(self.site.daemon(name).wait(lustre.PATIENCE), 0)
        self.assertEqual(os.listdir(dst), [])
        os.rmdir(dst)

    def test_an_evicted_target_is_waited_for(self):
        if not lustre.has_servers():
            self.skipTest('no servers on this node')
        for i in range(150):
            self.file(f'f{i}', 1000)
        self.site.options = {'scan_batch_size': 10}
        name = self.site.start()
        d = self.site.daemon(name)
        until('it copies', lambda: len(os.listdir(self.dst)) > 10)
        uuids = sh('lctl', 'get_param', '-n', f'llite.{self.two.fsname}-*.uuid').split()
        for uuid in uuids:
            sh('lctl', 'set_param', '-n', f'mdt.{self.two.fsname}-MDT*.evict_client={uuid}', check=False)
        d.wait(lustre.PATIENCE)
        report = self.site.report(name)
        if report['state'] != 'completed':
            self.site.drover('retry-failed', name, check=False)
            self.site.drover('retry-skipped', name, check=False)
            self.site.end(name, self.site.daemon(name))
        self.site.run()
        self.check_same(self.src, self.dst)


class Released(OnTwo):
    """Files whose data is in an archive alone."""

    def setUp(self):
        if 'enabled' not in sh('lctl', 'get_param', '-n', 'mdt.*.hsm_control', check=False)[1] or not shutil.which('lhsmtool_posix'):
            self.skipTest('no HSM on this node')
        super().setUp()
        self.archive = tempfile.mkdtemp(prefix='drover-archive.')
        self.addCleanup(shutil.rmtree, self.archive)
        self.tool = subprocess.Popen(['lhsmtool_posix', '--hsm-root', self.archive, '--archive=1', self.one.path],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.tool.wait)
        self.addCleanup(self.tool.kill)
        time.sleep(2)
        self.files = [self.file('small', 5000), self.file('large', 5 * MIB), self.file('linked', 3000)]
        os.link(self.files[2], os.path.join(self.src, 'link'))
        self.file('here', 100)
        sh('lfs', 'hsm_archive', *self.files)
        for path in self.files:
            until('it is archived', lambda: 'archived' in sh('lfs', 'hsm_state', path), every=1)
            sh('lfs', 'hsm_release', path)
        self.site.options = {'chunk_bytes': '1M'}  # so that the large one is cut into parts

    def check_released(self):
        for path in self.files:
            self.assertIn('released', sh('lfs', 'hsm_state', path))

    def test_skip_leaves_them_out(self):
        report = self.site.run('--released', 'skip', expect='completed_with_leftovers')
        self.check_released()
        self.assertEqual(os.listdir(self.dst), ['here'])
        self.assertEqual(sorted({os.path.basename(x['path']) for x in report['leftovers']}), ['large', 'link', 'linked', 'small'])

    def test_stub_makes_files_without_data(self):
        self.site.run('--released', 'stub')
        self.check_released()
        for name, size in (('small', 5000), ('large', 5 * MIB), ('linked', 3000)):
            a, b = os.stat(os.path.join(self.src, name)), os.stat(self.at(name))
            self.assertEqual((b.st_size, b.st_mtime), (size, a.st_mtime))
            with open(self.at(name), 'rb') as f:
                self.assertEqual(f.read(), bytes(size))
        self.assertTrue(os.path.samefile(self.at('link'), self.at('linked')))
        self.check_second_pass(self.src, self.dst)
        self.site.run('--pass', 'verify', '--released', 'stub')
        self.check_released()

    def test_copy_restores_them(self):
        self.site.run('--released', 'copy')
        for path in self.files:
            self.assertNotIn('released', sh('lfs', 'hsm_state', path))
        self.check_same(self.src, self.dst)


if __name__ == '__main__':
    unittest.main()
