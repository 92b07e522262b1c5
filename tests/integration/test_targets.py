# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where files go: pools, and what other daemons have on its way."""
import os
import re
import threading
import time

import pytest

from harness import MIB, until
from test_engine import SERVER, engine, meta, use  # noqa: F401 (a fixture)
from test_leadership import big_files, finish, hurry


def pool_files(site, osts, n=40, name='fast', size='4K-64K'):
    """Files of a pool that has these OSTs. @return the digest"""
    site.lab('pool', name, osts)
    site.lab('fill', '--files', n, '--size', size, '--pool', name)
    return site.digest()


def osts_used(site):
    return {o['index'] for o in site.df()['osts'] if o['objects']}


@pytest.mark.parametrize('layout', ['plain', 'pfl', 'mixed'])
def test_a_file_stays_in_its_pool(site, layout):
    site.make(8)
    site.tree.mkdir()
    for i in range(80):
        (site.tree / f'f{i}').write_bytes(os.urandom(1000 * i * (i % 3)))
    site.lab('pool', 'fast', '0-3')
    site.lab('import', site.tree, '--pool', 'fast', '--layout', layout, '--seed', 3)
    assert osts_used(site) == {0, 1, 2, 3}
    digest = site.digest()
    site.start(osts='0-1')
    site.daemon()
    progress = site.assert_moved()['progress']
    assert progress['succeeded'] == progress['discovered'] > 0
    assert osts_used(site) == {2, 3}
    assert site.digest() == digest


def test_a_file_without_a_pool_goes_anywhere(site):
    site.make(6)
    pool_files(site, '0-2', n=60)
    site.only_on([0, 1], 6, lambda: site.lab('fill', '--files', 100, '--size', '1K'))
    site.start(osts='0-1')
    site.daemon()
    site.assert_moved()
    assert osts_used(site) == {2, 3, 4, 5}


def test_what_lies_outside_of_its_pool_moves_into_it(site):
    """Once a file moves, all of its objects must: a server refuses a layout that names a pool and an OST outside of it."""
    site.make(8)
    site.tree.mkdir()
    for i in range(20):
        (site.tree / f'f{i}').write_bytes(os.urandom(400000))
    site.lab('pool', 'fast', '0-3')
    site.lab('import', site.tree, '--pool', 'fast', '--stripe-count', 4, '--stripe-size', '64K')
    digest = site.digest()
    site.lab('pool', 'fast', '2,4-6')  # 1 and 3 are outside now
    site.start(osts='0')
    site.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['succeeded'] == 20
    assert osts_used(site) == {2, 4, 5, 6}
    assert site.digest() == digest


@pytest.mark.parametrize('why', ['sources', 'closed'])
def test_a_pool_that_takes_nothing_is_no_space(site, why):
    """Until it is extended."""
    site.make(6)
    digest = pool_files(site, '0-1' if why == 'sources' else '0-3', n=30)
    if why == 'closed':
        site.set('2-3', 'closed')
    names = site.names_on(0, 1)
    site.start(osts='0-1')
    site.daemon()
    assert site.wait() == 3
    site.ended()
    progress = site.progress()
    assert progress['no_space'] == progress['discovered'] == len(names)
    report = site.report()
    assert {(x['class'], x['step'], x['error']) for x in report['leftovers']} == {('no_space', 'target', 'ENOSPC')}
    site.check()
    site.lab('pool', 'fast', '0-5')
    site.drover('retry-failed', 'evac')
    site.daemon()
    assert site.assert_moved()['progress']['succeeded'] == len(names)
    assert osts_used(site) - {2, 3} == {4, 5}
    assert site.digest() == digest


def test_a_pool_that_is_gone_binds_nothing(site):
    site.make(6)
    digest = pool_files(site, '0-2')
    site.lab('pool', 'fast', '--remove')
    site.start(osts='0-2')
    site.daemon()
    site.assert_moved(osts=(0, 1, 2))
    assert osts_used(site) == {3, 4, 5}
    assert site.digest() == digest


def test_a_pool_that_cannot_be_read_is_told(site):
    site.make(4)
    pool_files(site, '0-3', n=10)
    (site.lab_dir / 'pools' / 'fast').write_text('all of them\n')
    names = site.names_on(0)
    site.start(osts='0')
    site.daemon()
    assert site.wait() == 3
    assert {(x['class'], x['step'], x['error']) for x in site.report()['leftovers']} == {('refused', 'target', 'EBADMSG')}
    assert site.progress()['failed'] == len(names)
    site.check()


def test_a_pool_that_changes_while_files_move(site):
    """What was known of it is refused by the server then, and looked up again at once; no file fails for it."""
    site.make(6)
    digest = pool_files(site, '0-4', n=300, size='1-8K')
    site.configure(scan_batch_size=5)
    site.set('1-5', 'slow', latency_ms=10)
    site.start(osts='0')
    site.daemon()
    end = threading.Event()

    def change():
        while not end.is_set():
            for osts in ('0-2', '0,3-4', '0,5'):
                site.lab('pool', 'fast', osts)
                time.sleep(0.1)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        until('files move', lambda: site.progress()['succeeded'] > 20)
        site.set('1-5', 'up')
        assert site.wait() == 0
    finally:
        end.set()
        thread.join()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['succeeded'] == progress['discovered'] > 0
    assert site.digest() == digest


def test_a_pool_named_by_anything(site):
    """Names in layouts are bytes; no other file is read for them, and such a pool binds nothing."""
    site.make(4)
    pool_files(site, '0-3', n=30)
    for path in site.ns.rglob('f*'):
        layout = bytearray(os.getxattr(path, 'user.lov'))
        at = layout.index(b'fast\0')
        layout[at:at + 15] = os.fsencode('../lab.json').ljust(15, b'\0') if at % 2 else b'\xff\n/\0'.ljust(15, b'\0')
        os.setxattr(path, 'user.lov', bytes(layout))
    site.start(osts='0')
    site.daemon()
    site.assert_moved(osts=(0,))


# --- what is on its way -----------------------------------------------------------------------------------------------

def hears(site, timeout=30):
    """Waits until each of two daemons has heard of as much as the other has on its way. @return the workers"""
    def look():
        workers = site.status()['workers']
        if len(workers) != 2:
            return None
        a, b = workers
        ours = [w['in_flight_bytes'] for w in workers]
        return workers if all(ours) and a['others_in_flight_bytes'] == b['in_flight_bytes'] and \
            b['others_in_flight_bytes'] == a['in_flight_bytes'] else None
    return until('two daemons share what is on its way', look, timeout, every=0.05)


def test_two_daemons_know_what_the_other_has_on_its_way(site):
    big_files(site, 6, 6 * MIB, bandwidth='500K')
    for _ in range(2):
        site.daemon()
    workers = hears(site)
    # One mover each, and one file of one stripe in hand.
    assert [w['in_flight_bytes'] for w in workers] == [6 * MIB] * 2
    told = site.redis()('HGETALL', 'drover:evac:flight')
    assert len(told) == 4 and all(re.fullmatch(rb'[1-3]:%d' % (6 * MIB), t) for t in told[1::2]), told
    # The dead are no longer counted.
    victim = next(d for d in site.daemons if d is not site.leader())
    victim.kill()
    until('it is forgotten', lambda: [w['others_in_flight_bytes'] for w in site.status()['workers']] == [0])
    assert len(site.redis()('HGETALL', 'drover:evac:flight')) == 2
    hurry(site)
    assert finish(site)['succeeded'] == 6


def test_a_new_leader_adds_up_what_is_on_its_way(site):
    big_files(site, 6, 6 * MIB, bandwidth='500K')
    for _ in range(3):
        site.daemon()
    site.running(workers=3)
    leader = until('a leader', site.leader)
    leader.kill()
    hears(site)
    hurry(site)
    assert site.wait() == 0
    assert site.progress()['succeeded'] + site.progress()['unneeded'] == 6


@pytest.mark.skipif(not SERVER, reason='there is no redis-server')
def test_flight_on_a_server_of_the_sites_own(site, engine):  # noqa: F811
    server = engine()
    use(site, server.url)
    big_files(site, 6, 6 * MIB, bandwidth='500K')
    for _ in range(2):
        site.daemon()
    hears(site)
    sums = int(meta(server, 'flight_sums'))
    # Garbage in it is no number, and nobody falls over it.
    server.ask('HSET', 'drover:evac:flight', 'ghost:0:1:1', '1:99999999999')
    for daemon in site.daemons:
        assert daemon.alive()
    until('the leader adds up', lambda: int(meta(server, 'flight_sums')) > sums + 2)
    assert b'ghost:0:1:1' not in server.ask('HKEYS', 'drover:evac:flight')
    before = int(meta(server, 'flight_sums'))
    server.ask('HSET', 'drover:evac:meta', 'flight', '1:5,\xff;x')
    until('the leader adds up', lambda: int(meta(server, 'flight_sums')) > before + 2)
    hears(site)
    hurry(site)
    assert site.wait() == 0
    assert all(d.ended(10) == 0 for d in site.daemons)
    finish(site)
    site.drover('delete', 'evac', '--yes')
    assert server.ask('KEYS', '*') == []
