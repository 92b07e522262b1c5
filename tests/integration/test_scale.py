# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory, and bounds that hold whatever the number of files."""
import random
import os

import pytest

from harness import MIB, until


def all_on_the_source(site, files, osts=4):
    site.make(osts)
    site.only_on([0], osts, lambda: site.lab('fill', '--files', files, '--size', '0-0'))


def test_memory_for_a_hundred_thousand_pending_files(site):
    """Redis needs no more for a file than its path has bytes, and a daemon stays small."""
    site.configure(fsync='no', scan_batch_size=500, migration_workers=1, scan_workers=2, redis_maxmemory='64M')
    all_on_the_source(site, 100000)
    paths = [len(os.fsencode(site.ns)) + 1 + len(d) + 1 + len(f)
             for d in os.listdir(site.ns) for f in os.listdir(site.ns / d)]
    assert len(paths) == 100000
    average = sum(paths) / len(paths)
    site.set('1-3', 'slow', latency_ms=1000)
    site.start(osts='0')
    daemon, follower = site.daemon(), site.daemon()
    until('all are found', lambda: site.progress()['discovered'] == 100000)
    status = site.status()
    pending = status['progress']['pending']
    assert pending > 95000
    redis = site.redis()
    used = int(redis.info('memory')['used_memory'])
    redis.close()
    print(f'{used / pending:.1f} bytes of memory for a file, {average:.1f} bytes of path')
    assert used / pending <= average
    print(f'resident: {daemon.memory() / MIB:.1f} MiB, {follower.memory() / MIB:.1f} MiB')
    assert daemon.memory() < 64 * MIB and follower.memory() < 64 * MIB
    # A new leader loads as many.
    site.leader().kill()
    status = until('another leader', lambda: (s := site.status())['live'] and s['epoch'] == 2 and s)
    assert status['progress']['discovered'] == 100000


def test_scanners_rest_while_enough_is_queued(site):
    site.configure(fsync='no', scan_batch_size=100, migration_workers=1, scan_workers=2)
    all_on_the_source(site, 20000)
    site.set('1-3', 'slow', latency_ms=200)
    site.start(osts='0')
    site.daemon('evac', '--max-pending-migrations', 1000)
    until('enough is queued', lambda: site.progress()['pending'] >= 1000)
    most = 0
    for _ in range(100):
        most = max(most, site.progress()['pending'])
    assert most < 5000, most
    site.set('1-3', 'up')
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['succeeded'] == progress['discovered'] == 20000


@pytest.mark.slow
def test_a_full_server_holds_the_scanners_and_loses_nothing(site):
    """16 MiB are the least that the server may have; 90,000 long names that share nothing do not fit into it at once."""
    site.configure(fsync='no', scan_batch_size=500, redis_maxmemory='16M', migration_workers=2)
    site.make(4)
    names = 90000
    site.tree.mkdir()
    folder = site.tree / ('long' * 50)
    folder.mkdir()
    numbers = random.Random(1)
    for i in range(names):
        (folder / f'{numbers.getrandbits(800):0200x}-{i}').touch()
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    site.start(osts='0')
    site.set('1-3', 'slow', latency_ms=100)
    daemon = site.daemon()
    until('much is found', lambda: site.progress()['discovered'] > 1000)
    until('it rests', lambda: 'scanners-rest' in daemon.log(), 30)
    assert site.progress()['discovered'] < names
    site.set('1-3', 'up')
    progress = site.assert_moved(osts=(0,), timeout=150)['progress']
    assert progress['succeeded'] == progress['discovered'] == names
