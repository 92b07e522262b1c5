# SPDX-License-Identifier: LGPL-2.1-or-later
"""A test with a folder of its own on Lustre, and the evacuation of all that is in it."""
import os
import shutil
import unittest

import lustre
from lustre import Campaign, Mount, content, facts, layout, osts_of, sh, shape, write

SOURCES = {0, 1}


class Folder(unittest.TestCase):
    mount = None

    @classmethod
    def setUpClass(cls):
        why = lustre.why_not()
        if why:
            raise unittest.SkipTest(why)
        Folder.mount = Folder.mount or Mount(os.environ['LUSTRE_DIR'])
        if len(cls.mount.osts) < 5:
            raise unittest.SkipTest('five OSTs are needed')

    def setUp(self):
        self.dir = self.mount.mkdir()
        self.addCleanup(self.remove)

    def remove(self):
        sh('chattr', '-R', '-ia', self.dir, check=False)
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def make(self, name, size, *stripe, seed=None):
        """A file with this layout and random content."""
        path = self.path(name)
        if stripe:
            sh('lfs', 'setstripe', *stripe, path)
        write(path, content(size, seed or name))
        return path

    def evacuate(self, expect='completed', conf='', start=(), run=()):
        with Campaign('0-1', self.dir, conf=conf, start=start) as campaign:
            return campaign.run(*run, expect=expect)

    def check_moved(self, paths, conf='', keeps_shape=True):
        before = {p: (facts(p), shape(p)) for p in paths}
        for p in paths:
            self.assertTrue(osts_of(p) & SOURCES, f'{p} was on no source: {layout(p)}')
        report = self.evacuate(conf=conf)
        for p in paths:
            self.assertFalse(osts_of(p) & SOURCES, f'{p} stays: {layout(p)}')
            self.assertEqual(facts(p), before[p][0], p)
            if keeps_shape:
                self.assertEqual(shape(p), before[p][1], p)
        found = sh('lfs', 'find', self.dir, '--ost', '0,1', '--type', 'f')
        self.assertEqual(found, '', 'lfs find still finds files on the sources')
        return report
