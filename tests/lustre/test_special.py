# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of HSM, and encrypted files with and without their key."""
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

import lustre
from folder import SOURCES, Folder
from lustre import KIB, MIB, digest, osts_of, sh, shape, until


class Archived(Folder):
    """With a copytool of the tests' own, where there is one."""

    def setUp(self):
        super().setUp()
        if not shutil.which('lhsmtool_posix'):
            self.skipTest('no lhsmtool_posix in the PATH')
        if 'enabled' not in sh('lctl', 'get_param', '-n', 'mdt.*.hsm_control', check=False)[1]:
            self.skipTest('hsm_control is not enabled, or not on this node')
        self.archive = tempfile.mkdtemp(prefix='drover-arc.')
        self.tool = subprocess.Popen(['lhsmtool_posix', '--hsm-root', self.archive, '--archive=1', self.mount.path],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.end_tool)

    def end_tool(self):
        self.tool.send_signal(signal.SIGTERM)
        self.tool.wait()
        shutil.rmtree(self.archive, ignore_errors=True)

    @staticmethod
    def state(path):
        return sh('lfs', 'hsm_state', path).split(':', 1)[1]

    def archived(self, name):
        path = self.make(name, 70 * KIB, '-c', '1', '-o', '0')
        until('the archive takes it', lambda: sh('lfs', 'hsm_archive', path, check=False)[0] == 0, timeout=30, every=0.5)
        until('it is archived', lambda: 'archived' in self.state(path), timeout=60, every=0.2)
        return path

    def test_an_archived_file_stays_clean_and_can_be_released(self):
        path = self.archived('f')
        before = digest(path)
        self.check_moved([path])
        self.assertIn('archived', self.state(path))
        self.assertNotIn('dirty', self.state(path))
        # The client's caches may hold an older version than the one that the release compares.
        sh('lctl', 'set_param', 'ldlm.namespaces.*.lru_size=clear', check=False)
        sh('lfs', 'data_version', path)
        sh('lfs', 'hsm_release', path)
        self.assertEqual(digest(path), before)

    def test_a_released_file_is_no_candidate_and_is_not_restored(self):
        path = self.archived('f')
        sh('lfs', 'hsm_release', path)
        report = self.evacuate()
        self.assertEqual(report['progress']['discovered'], 0)
        self.assertIn('released', self.state(path))

    def test_a_clone_sees_that_a_file_is_released(self):
        program = os.path.join(os.path.dirname(lustre.BUILD), 'tests', 'lustre', 'tree_probe')
        if not os.path.exists(program):
            self.skipTest(f'{program} was not built')
        path = self.archived('f')
        self.assertEqual(sh(program, 'released', path).strip(), '0')
        sh('lfs', 'hsm_release', path)
        self.assertEqual(sh(program, 'released', path).strip(), '1')
        self.assertIn('released', self.state(path))


FS_IOC_ADD_ENCRYPTION_KEY, FS_IOC_REMOVE_ENCRYPTION_KEY, FS_IOC_SET_ENCRYPTION_POLICY = 0xc0506617, 0xc0406618, 0x800c6613


class Key:
    """A key of fscrypt's version 2 (linux/fscrypt.h) that is added to a mount."""

    def __init__(self, mount):
        self.raw = os.urandom(64)
        self.fd = os.open(mount, os.O_RDONLY)
        self.add()

    def add(self):
        arg = bytearray(struct.pack('<II32sII32s', 2, 0, b'', len(self.raw), 0, b'') + self.raw)
        fcntl.ioctl(self.fd, FS_IOC_ADD_ENCRYPTION_KEY, arg, True)
        self.ident = bytes(arg[8:24])

    def encrypt(self, folder):
        fd = os.open(folder, os.O_RDONLY)
        fcntl.ioctl(fd, FS_IOC_SET_ENCRYPTION_POLICY, struct.pack('<BBBB4s16s', 2, 1, 4, 0, b'', self.ident))
        os.close(fd)

    def remove(self):
        fcntl.ioctl(self.fd, FS_IOC_REMOVE_ENCRYPTION_KEY, bytearray(struct.pack('<II32sI20s', 2, 0, self.ident, 0, b'')), True)


class Encrypted(Folder):
    def encrypted(self, names):
        """Files in an encrypted folder. @return the key, and {path: digest}"""
        os.mkdir(self.path('e'))
        try:
            key = Key(self.mount.path)
            key.encrypt(self.path('e'))
        except OSError as e:
            self.skipTest(f'no encryption here: {e}')
        for name, size in names.items():
            self.make(f'e/{name}', size, '-c', '1', '-o', '0')
        sh('sync')
        return key, {self.path(f'e/{name}'): digest(self.path(f'e/{name}')) for name in names}

    SIZES = {'page': 4096, 'odd': 5001, 'larger': 70 * KIB + 3, 'large': 9 * MIB + 7}

    def test_with_the_key(self):
        _, sums = self.encrypted(self.SIZES)
        self.check_moved(list(sums))

    def test_without_the_key_it_is_refused_and_untouched(self):
        key, sums = self.encrypted({'page': 4096, 'odd': 5001, 'larger': 70 * KIB + 3})
        before = {p: shape(p) for p in sums}
        key.remove()
        with open('/proc/sys/vm/drop_caches', 'w') as f:
            f.write('3\n')
        for path in sums:
            with self.assertRaises(OSError, msg='it can be read without its key'):
                digest(path)
        report = self.evacuate(expect='completed_with_leftovers')
        self.assertEqual({(x['class'], x['step'], x['error']) for x in report['leftovers']}, {('refused', 'open', 'ENOKEY')})
        key.add()
        for path, want in sums.items():
            self.assertEqual(shape(path), before[path])
            self.assertTrue(osts_of(path) & SOURCES)
            self.assertEqual(digest(path), want, path)


if __name__ == '__main__':
    unittest.main()
