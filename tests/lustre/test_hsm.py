# SPDX-License-Identifier: LGPL-2.1-or-later
"""The HSM action stream on a real MDT: what the shipper puts into it beside what Lustre says, while a copytool works."""
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from lustre import BUILD, MIB, Mount, fid, sh, until

ACTIONS = '/sys/kernel/debug/lustre/mdt/*-MDT????/hsm/actions'
WAYS = {'waiting': 'WAITING', 'running': 'STARTED'}


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not glob.glob(ACTIONS):
            raise unittest.SkipTest('no MDT on this node')
        if 'enabled' not in sh('lctl', 'get_param', '-n', 'mdt.*.hsm_control', check=False)[1]:
            raise unittest.SkipTest('hsm_control is not enabled')
        if not shutil.which('lhsmtool_posix'):
            raise unittest.SkipTest('no lhsmtool_posix in the PATH')
        cls.mount = Mount(os.environ['LUSTRE_DIR'])

    def setUp(self):
        self.dir = self.mount.mkdir()
        self.place = tempfile.mkdtemp(prefix='drover-hsm.')
        self.archive = os.path.join(self.place, 'archive')
        os.mkdir(self.archive)
        self.tool = self.server = self.shipper = None
        self.addCleanup(self.clean_up)
        # So that finished actions leave the lists while the test looks.
        self.keep('hsm.grace_delay', 8)
        self.keep('hsm.loop_period', 1)
        self.socket = os.path.join(self.place, 's')
        self.server = subprocess.Popen(['redis-server', '--port', '0', '--unixsocket', self.socket, '--save', '', '--dir', self.place],
                                       stdout=subprocess.DEVNULL)
        until('redis-server', lambda: os.path.exists(self.socket))
        self.config = os.path.join(self.place, 'shipper.yaml')
        with open(self.config, 'w') as f:
            f.write(f'redis_url: "unix://{self.socket}?db=1"\nmdt_watch_glob: "{ACTIONS}"\npoll_interval: 0.2\n'
                    f'cache_path: {self.place}/cache\nmountpoint: {self.mount.path}\n')
        self.start_shipper()

    def keep(self, name, value):
        old = dict(line.split('=') for line in sh('lctl', 'get_param', f'mdt.*.{name}').split())
        self.addCleanup(lambda: [sh('lctl', 'set_param', f'{k}={v}') for k, v in old.items()])
        sh('lctl', 'set_param', f'mdt.*.{name}={value}')

    def start_shipper(self):
        with open(os.path.join(self.place, 'log'), 'ab') as log:
            self.shipper = subprocess.Popen([BUILD / 'hsm-action-shipper', '-c', self.config], stderr=log)

    def start_tool(self, *more):
        self.tool = subprocess.Popen(['lhsmtool_posix', '--hsm-root', self.archive, '--archive=1', *more, self.mount.path],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(2)

    def end(self, process):
        if process and process.poll() is None:
            process.kill()
            process.wait()

    def clean_up(self):
        self.end(self.shipper)
        self.end(self.server)
        self.end(self.tool)
        for name in os.listdir(self.dir):
            sh('lfs', 'hsm_cancel', os.path.join(self.dir, name), check=False)
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.place, ignore_errors=True)

    def file(self, name, size):
        path = os.path.join(self.dir, name)
        with open(path, 'wb') as f:
            f.write(os.urandom(size))
        return path

    def request(self, what, *paths):
        """Right after another the coordinator may be busy."""
        until(what, lambda: sh('lfs', what, *paths, check=False)[0] == 0, timeout=60, every=0.5)

    # --- the three that must agree

    def events(self):
        out = []
        for path in glob.glob(ACTIONS):
            key = 'hsm:actions:' + path.split('/')[-3]
            text = sh('redis-cli', '-s', self.socket, '-n', 1, '--json', 'XRANGE', key, '-', '+')
            out += [json.loads(entry[1][1]) for entry in json.loads(text)]
        return out

    def live(self):
        live = {}
        for e in self.events():
            key = e['mdt'], e['cat_idx'], e['rec_idx']
            if e['event_type'] == 'PURGED':
                del live[key]
            else:
                assert (key in live) == (e['event_type'] == 'UPDATE'), e
                live[key] = e
        return live

    @staticmethod
    def lists():
        lines = []
        for path in glob.glob(ACTIONS):
            with open(path) as f:
                lines += f.read().splitlines()
        return sorted(lines)

    def agree(self):
        """The stream says what the lists hold."""
        until('the stream and the lists agree', lambda: sorted(e['raw'] for e in self.live().values()) == self.lists(), timeout=60)

    def action(self, path):
        """('ARCHIVE', 'WAITING') of lfs hsm_action; None: none."""
        m = re.search(r': (ARCHIVE|RESTORE|REMOVE|CANCEL) (waiting|running)', sh('lfs', 'hsm_action', path))
        return m and (m[1], WAYS[m[2]])

    def in_stream(self, path, *states):
        return [(e['action'], e['status']) for e in self.live().values() if e['fid'] == fid(path).strip('[]') and
                (not states or e['status'] in states)]

    def same(self, path):
        """lfs and the stream say the same of a file. What goes on between the two looks is looked at again."""
        def look():
            before = self.action(path)
            there = self.in_stream(path, 'WAITING', 'STARTED')
            there = [x for x in there if x[0] != 'CANCEL']
            return before == self.action(path) and there == ([before] if before else [])
        until(f'{path}: lfs and the stream agree', look, timeout=60, every=0.3)

    # --- the tests

    def test_archive_restore_cancel_and_remove_are_told_as_lustre_lists_them(self):
        files = [self.file(f'f{i}', 64 << 10) for i in range(4)]
        self.request('hsm_archive', *files)
        for path in files:
            self.same(path)
            self.assertEqual(self.action(path), ('ARCHIVE', 'WAITING'))
        self.agree()
        self.request('hsm_cancel', files[3])
        self.agree()
        self.start_tool()
        for path in files[:3]:
            until('archived', lambda path=path: 'archived' in sh('lfs', 'hsm_state', path).split(':', 1)[1])
            self.same(path)
        self.agree()
        statuses = [e['status'] for e in self.events() if e['fid'] == fid(files[0]).strip('[]')]
        self.assertEqual((statuses[0], 'SUCCEED' in statuses), ('WAITING', True))

        for path in files[:2]:
            self.request('hsm_release', path)
        with open(files[0], 'rb') as f:
            self.assertEqual(len(f.read()), 64 << 10)
        self.request('hsm_restore', files[1])
        until('restored', lambda: 'released' not in sh('lfs', 'hsm_state', files[1]))
        self.agree()
        restores = [e for e in self.events() if e['action'] == 'RESTORE']
        self.assertEqual({e['fid'] for e in restores}, {fid(p).strip('[]') for p in files[:2]})

        self.request('hsm_remove', files[2])
        until('removed', lambda: 'archived' not in sh('lfs', 'hsm_state', files[2]).split(':', 1)[1])
        self.agree()
        self.assertIn('REMOVE', {e['action'] for e in self.events()})
        # After the grace delay nothing is left, in the lists and in the stream, and every PURGED names its index.
        until('the lists are empty', lambda: not self.lists(), timeout=120, every=1)
        self.agree()
        self.assertEqual(self.live(), {})
        for e in self.events():
            self.assertIsInstance(e['cat_idx'], int)
            self.assertNotIn('source', e)
        self.assertEqual([e['status'] for e in self.events() if e['fid'] == fid(files[3]).strip('[]') and e['action'] == 'ARCHIVE'][-2:],
                         ['CANCELED', 'PURGED'])

    def test_a_shipper_that_is_killed_meanwhile_loses_and_doubles_nothing(self):
        self.start_tool()
        files = [self.file(f'f{i}', 32 << 10) for i in range(12)]
        for i, path in enumerate(files):
            self.request('hsm_archive', path)
            if i % 3 == 2:
                self.end(self.shipper)
                self.start_shipper()
        for path in files:
            until('archived', lambda path=path: 'archived' in sh('lfs', 'hsm_state', path).split(':', 1)[1])
        self.agree()
        fids = {fid(p).strip('[]') for p in files}
        news = [e['fid'] for e in self.events() if e['event_type'] == 'NEW' and e['fid'] in fids]
        self.assertEqual((len(news), len(set(news))), (len(files), len(files)))

    def test_a_slow_copy_is_shown_running_and_can_be_cancelled(self):
        self.start_tool('--bandwidth', '1', '--update-interval', '1')
        path = self.file('slow', 24 * MIB)
        self.request('hsm_archive', path)
        until('it runs', lambda: self.action(path) == ('ARCHIVE', 'STARTED'))
        self.same(path)
        self.request('hsm_cancel', path)
        until('it ends', lambda: self.action(path) is None)
        self.same(path)
        self.agree()
        self.assertTrue({'CANCEL', 'ARCHIVE'} <= {e['action'] for e in self.events()})

    def test_tail_prints_paths_and_stats_count(self):
        path = self.file('name with\nnewline', 4096)
        self.request('hsm_archive', path)
        self.agree()
        text = sh(BUILD / 'hsm-stream-tail', '-c', self.config, '--from-beginning', '--run-once', '--log-level', 'ERROR')
        self.assertIn(f'ARCHIVE  WAITING  -> {self.mount.path}/{os.path.basename(self.dir)}/name with\\nnewline (id: ', text)
        stats = json.loads(sh(BUILD / 'hsm-stream-stats', '-c', self.config, '--log-level', 'ERROR'))
        self.assertEqual(stats['summary']['total_live_actions'], len(self.lists()))
        self.assertEqual(sum(row['count'] for row in stats['breakdown']), len(self.lists()))
        os.unlink(path)
        text = sh(BUILD / 'hsm-stream-tail', '-c', self.config, '--from-beginning', '--run-once', '--log-level', 'ERROR')
        self.assertIn('not found)', text)


if __name__ == '__main__':
    unittest.main()
