# SPDX-License-Identifier: LGPL-2.1-or-later
"""Others come while a file moves, servers fail, processes are killed: nothing may shrink, change or stay behind."""
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

import lustre
from folder import SOURCES, Folder
from lustre import KIB, MIB, Campaign, content, digest, facts, leftovers, osts_of, parameter, sh, until, write

SLOW = 256 * MIB  # long enough to be met in mid-copy


class Others(Folder):
    """While a large file is copied."""

    def setUp(self):
        super().setUp()
        self.big = self.make('big', 1 * MIB, '-c', '1', '-o', '0')
        os.truncate(self.big, 0)
        write(self.big, content(MIB, 'big') * (SLOW // MIB))
        self.campaign = Campaign('0-1', self.dir, conf='retry_delays =\n')
        self.addCleanup(self.campaign.close)
        self.before = osts_of(self.big)

    def in_mid_copy(self):
        """Starts a daemon; returns while the file is being copied."""
        p = self.campaign.daemon()
        until('the file is in hand', lambda: any(
            c['path'].endswith('big') for w in self.campaign.status()['workers'] for c in w['current']), every=0.02)
        time.sleep(0.15)
        return p

    def finish(self, p):
        p.wait(lustre.PATIENCE)
        return self.campaign.report()

    def check_busy(self, report):
        self.assertEqual(leftovers(report)['big'][0], 'busy', report['leftovers'])
        self.assertEqual(osts_of(self.big), self.before)

    def test_an_open_for_writing_wins_at_once(self):
        for mount in (None, os.environ.get('LUSTRE_DIR2')):
            with self.subTest(mount=mount):
                path = self.big if not mount else os.path.join(mount, os.path.relpath(self.big, self.mount.path))
                p = self.in_mid_copy()
                began = time.monotonic()
                with open(path, 'r+b') as f:
                    opened = time.monotonic() - began
                    f.write(b'mine')
                    report = self.finish(p)
                    gave_up = time.monotonic() - began
                self.assertLess(opened, 1)
                self.assertLess(gave_up, 10)
                self.check_busy(report)
                with open(self.big, 'rb') as f:
                    self.assertEqual(f.read(4), b'mine')
                self.assertEqual(os.path.getsize(self.big), SLOW)
                self.campaign.drover('retry-skipped', self.campaign.name)

    def test_truncate_wins(self):
        p = self.in_mid_copy()
        os.truncate(self.big, 12345)
        report = self.finish(p)
        self.check_busy(report)
        self.assertEqual(os.path.getsize(self.big), 12345)

    def test_rename_and_chmod_do_not_stop_it(self):
        p = self.in_mid_copy()
        os.rename(self.big, self.path('renamed'))
        os.chmod(self.path('renamed'), 0o600)
        report = self.finish(p)
        self.assertEqual(report['state'], 'completed')
        self.assertFalse(osts_of(self.path('renamed')) & SOURCES)
        self.assertEqual(os.stat(self.path('renamed')).st_mode & 0o777, 0o600)
        self.assertEqual(os.path.getsize(self.path('renamed')), SLOW)

    def test_unlink_leaves_nothing_behind(self):
        free = self.mount.free(0)
        p = self.in_mid_copy()
        os.unlink(self.big)
        report = self.finish(p)
        self.assertEqual(report['leftovers'], [])
        until('the space returns', lambda: self.mount.free(0) > free + SLOW // 2, timeout=60)

    def test_a_chown_is_kept(self):
        p = self.in_mid_copy()
        os.chown(self.big, 1001, 1002)
        report = self.finish(p)
        self.assertIn(report['state'], ('completed', 'completed_with_leftovers'))
        self.assertEqual((os.stat(self.big).st_uid, os.stat(self.big).st_gid), (1001, 1002))
        if report['leftovers']:
            self.assertEqual(leftovers(report)['big'][0], 'changed')
        self.assertEqual(os.path.getsize(self.big), SLOW)

    def test_kill_in_mid_copy_leaves_no_volatile(self):
        whole = digest(self.big)
        free = {o: self.mount.free(o) for o in self.mount.osts}
        p = self.in_mid_copy()
        p.send_signal(signal.SIGKILL)
        p.wait()
        until('the space returns', lambda: all(self.mount.free(o) > free[o] - 8 * MIB for o in self.mount.osts), timeout=60)
        self.assertEqual(digest(self.big), whole)
        self.assertEqual(osts_of(self.big), self.before)
        self.campaign.run()
        self.assertEqual(digest(self.big), whole)
        self.assertFalse(osts_of(self.big) & SOURCES)


class Writers(Folder):
    def test_a_file_that_is_open_for_writing_is_left_and_taken_later(self):
        path = self.make('f', 70 * KIB, '-c', '1', '-o', '0')
        with Campaign('0-1', self.dir, conf='retry_delays =\n') as campaign:
            with open(path, 'r+b'):
                report = campaign.run(expect='completed_with_leftovers')
                self.assertEqual(leftovers(report)['f'], ('busy', 'lease', 'EBUSY'))
            campaign.drover('retry-skipped', campaign.name)
            campaign.run()
        self.assertFalse(osts_of(path) & SOURCES)

    def test_readers_do_not_mind(self):
        path = self.make('f', 20 * MIB, '-c', '1', '-o', '0')
        with open(path, 'rb') as f:
            head = f.read(KIB)
            self.check_moved([path])
            f.seek(0)
            self.assertEqual(f.read(KIB), head)

    def test_two_campaigns_on_the_same_files(self):
        paths = [self.make(f'f{i}', 5000 + i, '-c', '1', '-o', '0') for i in range(200)]
        before = {p: digest(p) for p in paths}
        with Campaign('0-1', self.dir, name='a', conf='retry_delays = 1,3,7,15,31\n') as a, \
                Campaign('0-1', self.dir, name='b', conf='retry_delays = 1,3,7,15,31\n') as b:
            daemons = [c.daemon('--migration-workers', '2') for c in (a, b)]
            for p in daemons:
                p.wait(lustre.PATIENCE)
            reports = [c.report() for c in (a, b)]
            for report in reports:
                Campaign.check_identity(report)
                self.assertEqual(report['state'], 'completed', report['leftovers'][:3])
            moved = sum(r['progress']['succeeded'] for r in reports)
            self.assertEqual(moved, len(paths), [r['progress'] for r in reports])
        for p in paths:
            self.assertFalse(osts_of(p) & SOURCES)
            self.assertEqual(digest(p), before[p])

    def test_two_names_in_two_folders_by_many_threads(self):
        os.mkdir(self.path('a'))
        os.mkdir(self.path('b'))
        paths = []
        for i in range(100):
            paths.append(self.make(f'a/f{i}', 6000, '-c', '1', '-o', '0'))
            os.link(paths[-1], self.path(f'b/g{i}'))
        with Campaign('0-1', self.dir, conf='scan_batch_size = 7\n') as campaign:
            report = campaign.run('--migration-workers', '8')
        self.assertEqual(report['progress']['succeeded'], 100, report['progress'])


class Limits(Folder):
    def test_quota_of_the_owner_does_not_stop_root(self):
        path = self.make('f', 4 * MIB, '-c', '1', '-o', '0')
        os.chown(path, 1777, 1777)
        code, out = sh('lfs', 'setquota', '-u', '1777', '-b', '1024', '-B', '2048', '-i', '0', '-I', '0', self.mount.path, check=False)
        if code != 0:
            self.skipTest(out)
        try:
            self.check_moved([path])
        finally:
            sh('lfs', 'setquota', '-u', '1777', '-b', '0', '-B', '0', '-i', '0', '-I', '0', self.mount.path)

    def test_full_targets_are_left_for_others(self):
        """All targets but one are filled up to the reserve: everything lands on that one, or is told as without room."""
        fill = []
        room = 60 * MIB
        for ost in [o for o in self.mount.osts if o not in SOURCES and o != 2]:
            path = self.path(f'fill{ost}')
            sh('lfs', 'setstripe', '-c', '1', '-o', str(ost), path)
            sh('fallocate', '-l', str(max(0, self.mount.free(ost) - room)), path, check=False)
            fill.append(path)
        try:
            paths = [self.make(f'f{i}', 3 * MIB, '-c', '1', '-o', '0') for i in range(10)]
            time.sleep(2)
            self.check_moved(paths)
            for p in paths:
                self.assertEqual(osts_of(p), {2}, osts_of(p))
        finally:
            for p in fill:
                os.unlink(p)


class Servers(Folder):
    """Faults of OSTs that run on this node."""

    def setUp(self):
        super().setUp()
        if not lustre.has_servers():
            self.skipTest('the servers run on other nodes')

    def test_a_closed_target_is_avoided_though_statfs_does_not_show_it(self):
        closed = self.mount.ost_name(2)
        paths = [self.make(f'f{i}', 9000, '-c', '2', '-S', '64K', '-o', '0,1') for i in range(40)]
        with parameter(f'osp.{closed}-osc-MDT*.max_create_count', 0):
            self.check_moved(paths)
            self.assertNotIn(2, set.union(*map(osts_of, paths)))

    def test_a_source_that_does_not_give_its_data_shrinks_nothing(self):
        paths = [self.make(f'f{i}', 4 * MIB, '-c', '2', '-S', '1M', '-o', '2,1') for i in range(2)]
        sh('lctl', 'set_param', 'ldlm.namespaces.*.lru_size=clear', check=False)
        with open('/proc/sys/vm/drop_caches', 'w') as f:
            f.write('3\n')
        before = {p: (os.path.getsize(p), osts_of(p)) for p in paths}
        # OBD_FAIL_OST_BRW_READ_BULK... for reads of one OST: every read is answered with EIO.
        with parameter('fail_val', 2), parameter('fail_loc', 0x20f):
            report = self.evacuate(expect='completed_with_leftovers')
        for p in paths:
            self.assertEqual((os.path.getsize(p), osts_of(p)), before[p])
            self.assertEqual(lustre.digest(p), __import__('hashlib').md5(content(4 * MIB, os.path.basename(p))).hexdigest())
        self.assertEqual({x['class'] for x in report['leftovers']}, {'failed'})

    def test_eviction_by_an_ost_loses_nothing(self):
        """Targets throw the client out again and again while small files move."""
        paths = [self.make(f'f{i}', 9000, '-c', '1', '-o', '0') for i in range(300)]
        before = {p: digest(p) for p in paths}
        stop = threading.Event()

        def evict():
            while not stop.is_set():
                for ost in (2, 3, 4):
                    name = f'obdfilter.{self.mount.ost_name(ost)}'
                    for value in sh('lctl', 'get_param', '-n', f'{name}.exports.*.uuid', check=False)[1].split():
                        if value and not value.endswith('_UUID'):
                            sh('lctl', 'set_param', f'{name}.evict_client={value}', check=False)
                stop.wait(1)
        thread = threading.Thread(target=evict)
        thread.start()
        try:
            report = self.evacuate(expect=None)
        finally:
            stop.set()
            thread.join()
        time.sleep(2)
        for p in paths:
            self.assertEqual(digest(p), before[p], p)
        self.assertEqual(report['progress']['failed'] + report['progress']['succeeded'] + report['progress']['skipped'], 300)


LOAD = '''
import os, random, sys, time
folder, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
r = random.Random(seed)
names = sorted(os.listdir(folder))
end = time.monotonic() + seconds
while time.monotonic() < end:
    name = r.choice(names)
    if not name.startswith('w'):
        continue
    with open(os.path.join(folder, name), 'r+b') as f:
        n = r.randrange(1, 20000)
        f.seek(0)
        f.write(bytes([n % 251]) * n)
        f.truncate(n)
    # What was written last is what must be read later.
    with open(os.path.join(folder, name), 'rb') as f:
        data = f.read()
    assert data == bytes([n % 251]) * n, name
    time.sleep(0.01)
'''


class Load(Folder):
    FILES = int(os.environ.get('DROVER_TEST_FILES', 20000))

    def test_two_of_six_osts_under_a_running_write_load(self):
        sums = {}
        for d in range(20):
            os.mkdir(self.path(f'd{d}'))
            sh('lfs', 'setstripe', '-c', '1', self.path(f'd{d}'))
            for i in range(self.FILES // 20):
                # One in ten is written to all the time, by the load.
                path = self.path(f'd{d}/{"w" if i % 10 == 0 else "f"}{i}')
                data = content(100 + (i * 7919) % 9000, i)
                with open(path, 'xb') as f:
                    f.write(data)
                if i % 10:
                    sums[path] = lustre.hashlib.md5(data).hexdigest()
        loads = [subprocess.Popen([sys.executable, '-c', LOAD, self.path(f'd{d}'), '3600', str(d)]) for d in range(4)]
        try:
            with Campaign('0-1', self.dir, conf='retry_delays = 2,5,10,20\n') as campaign:
                report = campaign.run('--migration-workers', '4', expect=None, patience=4 * lustre.PATIENCE)
                for p in loads:
                    self.assertIsNone(p.poll(), 'a writer read back something else than it wrote')
                    p.kill()
                    p.wait()
                campaign.drover('retry-skipped', campaign.name, check=False)
                if report['state'] != 'completed':
                    report = campaign.run()
        finally:
            for p in loads:
                p.kill()
                p.wait()
        for path, want in sums.items():
            self.assertEqual(digest(path), want, path)
        self.assertEqual(sh('lfs', 'find', self.dir, '--ost', '0,1', '--type', 'f'), '')


if __name__ == '__main__':
    unittest.main()
