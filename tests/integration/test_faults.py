# SPDX-License-Identifier: LGPL-2.1-or-later
"""Daemons that are killed, targets that are full, sources that cannot be read."""
import collections
import os
import random
import stat
import subprocess
import time

import pytest

from harness import assert_same, escape, facts, make_files, until, walk


def kill_from_time_to_time(site, rng, kills, workers):
    """Kills a random daemon, every third time the leader, and starts another one in its place."""
    killed_leaders = 0
    for i in range(kills):
        alive = [d for d in site.daemons if d.alive()]
        assert len(alive) == workers, [d.log() for d in site.daemons if not d.alive()][-1]
        victim = rng.choice(alive)
        if i % 3 == 0:
            victim = until('somebody leads', site.leader)
        killed_leaders += victim is site.leader()
        print(f'kill {i}: pid {victim.pid}, {site.progress()}')
        victim.kill()
        site.daemon()
        # At any moment: also before the new leader has its server, and in the middle of its work.
        if rng.random() < 0.7:
            before = site.progress()['succeeded']
            until('it goes on', lambda: site.progress()['succeeded'] > before, 30)
        time.sleep(rng.uniform(0, 0.3))
    return killed_leaders


def test_kill_9_of_any_daemon_loses_nothing(site):
    """Twenty times, the leader among them; then every file is there, and was counted once."""
    seed = int(os.environ.get('DROVER_SEED', random.randrange(1 << 32)))
    print(f'DROVER_SEED={seed}')
    rng = random.Random(seed)
    site.configure(scan_batch_size=20)
    make_files(site.tree, 2400, sizes=(0, 20000), dirs=40, seed=seed)
    site.make(6)
    site.lab('import', site.tree, '--layout', 'mixed', '--seed', seed % 1000)
    expected = site.names_on(0, 1)
    before, digest = facts(site.ns, inode=True), site.digest()
    site.set('2-5', 'slow', latency_ms=60)
    site.start()
    sampler = site.sampler()
    for _ in range(3):
        site.daemon()
    site.running(workers=3)
    leaders = kill_from_time_to_time(site, rng, 20, 3)
    assert site.state() == 'running', 'the campaign was over before the last kill'
    assert leaders >= 5
    site.set('2-5', 'up')
    code = site.wait()
    sampler.stop()
    assert code == 0
    assert sampler.live > 20
    progress = site.assert_moved()['progress']
    assert progress['discovered'] == progress['succeeded'] == len(expected), progress
    # One more for each leader that died; a daemon may also have been killed while it took the lead, not yet announced.
    assert leaders + 1 <= site.status()['epoch'] <= 21
    assert site.digest() == digest
    assert_same(before, facts(site.ns, inode=True), 'the name space')
    diff = subprocess.run(['diff', '-r', site.export(), site.tree], stdout=subprocess.PIPE)
    assert diff.returncode == 0, diff.stdout[-2000:]
    # A file may be logged again by the worker that repeats what a killed one did; none is missing.
    assert set(site.audit_paths()) == {escape(p) for p in expected}


def test_kill_9_of_all_daemons_at_once_loses_nothing(site):
    site.configure(scan_batch_size=20)
    site.make(4)
    site.lab('fill', '--files', 600, '--size', '0-8K')
    expected = site.names_on(0)
    digest = site.digest()
    site.set('1-3', 'slow', latency_ms=30)
    site.start(osts='0')
    for _ in range(3):
        for _ in range(2):
            site.daemon()
        before = site.progress()['succeeded']
        until('files move', lambda: site.progress()['succeeded'] > before)
        for d in site.daemons:
            if d.alive():
                d.kill()
        # The answers come from the folder now, and are those of a moment before.
        status = site.status()
        assert status['state'] == 'running' and status['workers'] == []
        assert site.wait(timeout=1) == 124
    site.set('1-3', 'up')
    site.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['discovered'] == progress['succeeded'] == len(expected)
    assert site.digest() == digest


def test_the_server_alone_is_killed(site):
    """The daemon that led starts another one, or another daemon leads; the campaign goes on."""
    site.configure(scan_batch_size=10)
    site.make(4)
    site.lab('fill', '--files', 400, '--size', '0-8K')
    expected = site.names_on(0)
    site.set('1-3', 'slow', latency_ms=30)
    site.start(osts='0')
    site.daemon()
    site.daemon()
    site.running(workers=2)
    redis = site.redis()
    pid = int(redis.info('server')['process_id'])
    redis.close()
    os.kill(pid, 9)
    until('another epoch', lambda: site.status()['epoch'] >= 2)
    site.set('1-3', 'up')
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['discovered'] == progress['succeeded'] == len(expected)


def test_files_pass_by_full_and_closed_and_down_targets(site):
    site.make(8)
    site.lab('fill', '--files', 400, '--size', '4K-8K')
    site.set('2', 'full')
    site.set('3', 'closed')
    there = {o: len(site.objects(o)) for o in (2, 3, 4)}
    digest = site.digest()
    site.start()
    site.set('4', 'down')
    site.daemon()
    assert site.wait() == 0
    site.ended()
    assert {o: len(site.objects(o)) for o in (2, 3, 4)} == there
    site.assert_empty(0, 1)
    site.set('2-4', 'up')
    site.check()
    assert site.digest() == digest


def test_a_target_that_becomes_full_during_the_copy(site):
    """The file goes elsewhere: no leftover."""
    site.configure(scan_batch_size=1, migration_workers=1)
    site.make(4)
    site.tree.mkdir()
    (site.tree / 'big').write_bytes(os.urandom(6 << 20))
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    digest = site.digest()
    site.set('1-3', 'slow', latency_ms=0, bandwidth='2M')
    site.start(osts='0')
    site.daemon()
    path = site.ns / 'big'
    until('it moves', lambda: site.objects_of(path, 1, 2, 3))
    ost = next(o for o in (1, 2, 3) if site.objects_of(path, o))
    site.set(ost, 'full')
    for o in {1, 2, 3} - {ost}:
        site.set(o, 'up')
    site.assert_moved(osts=(0,))
    assert site.objects_of(path, ost) == []
    assert site.audit('evac', 'failed') == []
    assert site.digest() == digest


def test_small_targets_fill_up_to_their_reserve_and_no_further(site):
    site.configure(reserve_percent=10)
    site.make(4, size='24M')
    site.lab('fill', '--files', 150, '--size', '100K-500K')
    digest = site.digest()
    total, used = 24 << 20, [o['used_bytes'] for o in site.df()['osts']]
    assert used[0] < 3 * 0.9 * total - sum(used[1:]), 'the test needs another size'
    site.start(osts='0')
    site.daemon()
    site.assert_moved(osts=(0,))
    for ost in site.df()['osts'][1:]:
        assert ost['used_bytes'] <= 0.9 * total, ost
    assert site.digest() == digest


def test_no_target_has_space_then_some_has(site):
    site.make(3)
    site.lab('fill', '--files', 60, '--size', '4K-8K')
    names = site.names_on(0)
    site.start(osts='0')
    site.set('1-2', 'full')
    site.daemon()
    assert site.wait() == 3
    site.ended()
    progress = site.progress()
    assert progress['failed'] == progress['discovered'] == len(names)
    report = site.report()
    assert {x['class'] for x in report['leftovers']} == {'no_space'} and len(report['leftovers']) == len(names)
    assert {x['error'] for x in report['leftovers']} == {'ENOSPC'}
    assert report['osts'][0]['ready_to_remove'] is False
    site.check()
    site.set('1-2', 'up')
    site.drover('retry-failed', 'evac')
    assert site.state() == 'reopened'
    site.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['succeeded'] == progress['discovered'] == len(names)


def test_an_unreadable_source_fails_its_files_and_not_the_campaign(site):
    site.make(6)
    site.lab('fill', '--files', 300, '--size', '4K-8K')
    on_0, on_1 = site.names_on(0), site.names_on(1)
    digest = site.digest()
    site.start()
    site.set(0, 'down')
    site.daemon()
    site.daemon()
    assert site.wait() == 3
    site.ended()
    assert site.state() == 'completed_with_leftovers'
    assert site.objects(1) == {}
    progress = site.progress()
    assert (progress['failed'], progress['succeeded']) == (len(on_0), len(on_1))
    report = site.report('evac', '--all')
    prefix = os.fspath(site.ns) + '/'
    assert {x['path'] for x in report['leftovers']} == {prefix + escape(p) for p in on_0}
    assert all(x['class'] == 'failed' and x['error'] and x['step'] and x['osts'] == [0] for x in report['leftovers'])
    osts = {o['ost']: o for o in report['osts']}
    assert osts[0]['ready_to_remove'] is False and osts[0]['files_left'] == len(on_0)
    assert osts[1]['ready_to_remove'] is True
    site.set(0, 'up')
    site.check()
    site.drover('retry-failed', 'evac')
    assert site.wait(timeout=1) == 124
    site.daemon()
    progress = site.assert_moved()['progress']
    assert progress['succeeded'] == progress['discovered'] == len(on_0) + len(on_1)
    assert site.digest() == digest


def test_after_a_thousand_failures_in_a_row_the_rest_is_set_aside(site):
    site.configure(fsync='no', scan_batch_size=100, migration_workers=1)
    site.make(4)
    site.only_on([0], 4, lambda: site.lab('fill', '--files', 3000, '--size', '1-4K'))
    site.lab('fill', '--files', 200, '--size', '1-4K')
    on_0, on_1 = site.names_on(0), site.names_on(1)
    site.start()
    site.set(0, 'down')
    site.daemon()
    assert site.wait() == 3
    site.ended()
    steps = collections.Counter(x['step'] for x in site.report('evac', '--all')['leftovers'])
    aside = steps.pop('aside', 0)
    tried = sum(steps.values())
    assert 1000 <= tried <= 1500, steps
    assert aside == len(on_0) - tried
    assert site.objects(1) == {} and site.progress()['succeeded'] == len(on_1)
    site.set(0, 'up')
    site.drover('retry-failed', 'evac')
    site.daemon()
    progress = site.assert_moved()['progress']
    assert progress['succeeded'] == progress['discovered'] == len(on_0) + len(on_1)


def test_a_failing_source_does_not_count_the_successes_of_another_one(site):
    """A row of failures is broken by a success of the same source alone: the other one goes on all the time."""
    site.configure(fsync='no', scan_batch_size=100, migration_workers=2)
    site.make(4)
    site.only_on([0, 1], 4, lambda: site.lab('fill', '--files', 5000, '--size', '1-4K'))
    on_1 = site.names_on(1)
    site.start()
    site.set(0, 'down')
    site.daemon()
    assert site.wait() == 3
    site.ended()
    steps = collections.Counter(x['step'] for x in site.report('evac', '--all')['leftovers'])
    assert steps['aside'] > 500, steps
    assert site.objects(1) == {} and site.progress()['succeeded'] == len(on_1)


def test_too_many_leftovers_pause_the_campaign_and_it_says_why(site):
    site.configure(max_leftovers=20, scan_batch_size=10)
    site.make(4)
    site.lab('fill', '--files', 400, '--size', '1-4K')
    names = site.names_on(0)
    site.start(osts='0')
    site.set(0, 'down')
    daemon = site.daemon()
    until('it pauses', lambda: site.state() == 'paused')
    status = site.status()
    assert 'max_leftovers' in status['reason'] and '20' in status['reason']
    assert status['reason'] in site.drover('status', 'evac').out
    assert site.wait(timeout=1) == 124 and daemon.alive()
    until('the files in hand are done', lambda: site.progress()['in_progress'] == 0)
    failed = site.progress()['failed']
    assert 20 < failed < len(names)
    site.set(0, 'up')
    site.drover('retry-failed', 'evac')
    site.drover('resume', 'evac')
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['succeeded'] == progress['discovered'] == len(names)
    assert site.status()['reason'] == ''


def test_immutable_files_are_refused_with_the_reason(site):
    site.make(3)
    site.lab('fill', '--files', 30, '--size', '1-4K')
    names = sorted(site.names_on(0))
    path = site.ns / os.fsdecode(names[0])
    if subprocess.run(['chattr', '+i', path], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip('no immutable files here')
    try:
        site.start(osts='0')
        site.daemon()
        assert site.wait() == 3
        site.ended()
        left, = site.report()['leftovers']
        assert (left['class'], left['path'], left['error']) == ('refused', os.fspath(path), 'EPERM')
        assert site.progress()['succeeded'] == len(names) - 1
    finally:
        subprocess.run(['chattr', '-i', path], check=True)
    site.drover('retry-failed', 'evac')
    site.daemon()
    site.assert_moved(osts=(0,))


def test_failed_files_are_tried_again_by_class(site):
    """Also while no daemon runs, as all commands."""
    site.make(3)
    site.lab('fill', '--files', 30, '--size', '4K')
    names = site.names_on(0)
    site.start(osts='0')
    site.set('1-2', 'full')
    site.daemon()
    assert site.wait() == 3
    site.ended()
    site.set('1-2', 'up')
    site.drover('retry-failed', 'evac', '--class', 'failed')
    site.daemon()
    assert site.wait() == 3
    site.ended()
    assert site.progress()['no_space'] == len(names)
    site.drover('retry-failed', 'evac', '--class', 'no_space')
    site.daemon()
    site.assert_moved(osts=(0,))


def test_files_removed_before_their_turn_are_gone_and_no_failure(site):
    site.configure(scan_batch_size=10, migration_workers=1)
    site.make(3)
    site.lab('fill', '--files', 300, '--size', '1-4K')
    names = sorted(site.names_on(0))
    site.set('1-2', 'slow', latency_ms=100)
    site.start(osts='0')
    site.daemon()
    until('all are found', lambda: site.progress()['discovered'] == len(names))
    removed = 0
    for path, _, _, st in list(walk(site.ns)):
        if stat.S_ISREG(st.st_mode):
            os.unlink(site.ns / os.fsdecode(path))
            removed += 1
    assert removed == 300
    site.set('1-2', 'up')
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['gone'] > 20
    assert progress['gone'] + progress['succeeded'] + progress['unneeded'] == len(names)
    assert progress['failed'] == progress['skipped'] == 0
