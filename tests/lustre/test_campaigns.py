# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists of candidates, the site's own command, closing: what a campaign does besides, on a real Lustre."""
import os
import unittest

import lustre
from folder import SOURCES, Folder
from lustre import KIB, Campaign, digest, fid, leftovers, osts_of, parameter, sh


class Lists(Folder):
    def test_paths_and_fids_of_a_policy_engine(self):
        paths = [self.make(f'f{i}', 5000, '-c', '1', '-o', '0') for i in range(6)]
        sums = {p: digest(p) for p in paths}
        listed = os.path.join(self.dir, 'list')
        with open(listed, 'w') as f:
            f.write(paths[0] + '\n' + fid(paths[1]) + '\n' + fid(paths[2]).strip('[]') + '\n' + self.path('none') + '\n')
        with Campaign('0-1', start=('--from-list', listed), name='l') as campaign:
            report = campaign.run()
        self.assertEqual(report['progress']['succeeded'], 3, report['progress'])
        for i, p in enumerate(paths):
            self.assertEqual(bool(osts_of(p) & SOURCES), i > 2, p)
            self.assertEqual(digest(p), sums[p])
        self.assertFalse(any(o['ready_to_remove'] for o in report['osts']))

    def test_directories_that_name_a_source_are_reported(self):
        os.mkdir(self.path('start'))
        sh('lfs', 'setstripe', '-c', '1', '-i', '0', self.path('start'))
        os.mkdir(self.path('list'))
        sh('lfs', 'setstripe', '-c', '2', '-o', '2,1', self.path('list'))
        os.mkdir(self.path('other'))
        sh('lfs', 'setstripe', '-c', '1', '-i', '3', self.path('other'))
        report = self.evacuate()
        named = {os.path.basename(t.split(':')[0]): t for t in report['residue']}
        self.assertEqual(set(named), {'start', 'list'}, report['residue'])
        self.assertIn('OST 0', named['start'])


class Movers(Folder):
    def test_the_sites_own_command(self):
        paths = [self.make(f'f{i}', 70 * KIB, '-c', '1', '-o', '0') for i in range(3)]
        self.check_moved(paths, conf='mover = lfs\nlfs_migrate_command = lfs migrate -n -c 1 -i 2\n')

    def test_a_command_that_meets_a_writer(self):
        path = self.make('f', 70 * KIB, '-c', '1', '-o', '0')
        with open(path, 'r+b'):
            report = self.evacuate(expect='completed_with_leftovers',
                                   conf='mover = lfs\nlfs_migrate_command = lfs migrate -n -c 1 -i 2\nretry_delays =\n')
        self.assertEqual(leftovers(report)['f'][0], 'busy')


class Closing(Folder):
    def test_sources_are_closed_by_command_and_shown_so_by_their_state(self):
        if not lustre.has_servers():
            self.skipTest('the servers run on other nodes')
        path = self.make('f', 5000, '-c', '1', '-o', '0')
        with parameter(f'obdfilter.{self.mount.ost_name(0)}.no_create', 0), parameter(f'obdfilter.{self.mount.ost_name(1)}.no_create', 0):
            with Campaign('0-1', self.dir, conf='close_command = lctl set_param obdfilter.{ost}.no_create=1\n'
                                                'open_command = lctl set_param obdfilter.{ost}.no_create=0\n') as campaign:
                report = campaign.run()
                self.assertFalse(osts_of(path) & SOURCES)
                lustre.until('statfs shows it', lambda: all(
                    o['closed_to_new_objects']['state_shows_it'] for o in campaign.report()['osts']), timeout=30, every=1)
                self.assertIn('yes', campaign.drover('report', campaign.name))
                campaign.drover('reopen', '--yes', campaign.name)
                for ost in (0, 1):
                    value = sh('lctl', 'get_param', '-n', f'obdfilter.{self.mount.ost_name(ost)}.no_create').strip()
                    self.assertEqual(value, '0')
        self.assertEqual(report['state'], 'completed')


if __name__ == '__main__':
    unittest.main()
