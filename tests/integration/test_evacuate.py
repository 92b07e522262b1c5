# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whole evacuations of a lab, and what must be the same after them."""
import os
import re
import stat
import subprocess
import threading
import time

import pytest

from harness import (MIB, ROOT, assert_same, escape, facts, make_files, run, take_real_files, until, walk)


def same_trees(a, b):
    diff = subprocess.run(['diff', '-r', '--no-dereference', a, b], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert diff.returncode == 0, diff.stdout[-3000:]


@pytest.mark.parametrize('osts', ['0-1', '3,6'])
def test_three_daemons_empty_two_of_eight_osts(site, osts):
    """The whole job on real files with layouts of all kinds."""
    sources = tuple(int(o) for o in re.split('[-,]', osts))
    site.tree.mkdir()
    if take_real_files(site.tree, 500) < 300:
        make_files(site.tree / 'more', 500)
    for i in range(12):
        (site.tree / f'linked{i}').write_bytes(os.urandom(1000 * i))
        (site.tree / f'other{i}').mkdir()
        os.link(site.tree / f'linked{i}', site.tree / f'other{i}' / 'second name')
        os.setxattr(site.tree / f'linked{i}', 'user.colour', b'blue\0%d' % i)
        if ROOT:
            os.chown(site.tree / f'linked{i}', 1000 + i, 2000)
        os.chmod(site.tree / f'linked{i}', 0o400 + i)
    with open(site.tree / 'sparse', 'wb') as f:
        f.truncate(64 * MIB)
        f.seek(20 * MIB)
        f.write(b'middle')
    (site.tree / 'empty').write_bytes(b'')
    os.symlink('empty', site.tree / 'link')
    site.make(8)
    site.lab('import', site.tree, '--layout', 'mixed', '--seed', 7)
    expected = site.names_on(*sources)
    inodes = set(expected.values())
    before, digest = facts(site.ns, inode=True), site.digest()
    site.start(osts=osts)
    # Slow until all three are there, or the first one could be done before the others come.
    targets = ','.join(str(o) for o in range(8) if o not in sources)
    site.set(targets, 'slow', latency_ms=100)
    sampler = site.sampler()
    for _ in range(3):
        site.daemon()
    site.running(workers=3)
    site.set(targets, 'up')
    code = site.wait()
    sampler.stop()
    assert code == 0
    status = site.assert_moved(osts=sources)
    progress = status['progress']
    # A file with two names is moved once; its second name is found as well, or is off the sources by then.
    assert progress['succeeded'] == len(inodes)
    assert len(inodes) <= progress['discovered'] <= len(expected)
    assert progress['skipped'] == progress['failed'] == progress['gone'] == 0
    assert sampler.live > 5
    assert_same(before, facts(site.ns, inode=True), 'the name space')
    assert site.digest() == digest
    same_trees(site.export(), site.tree)
    moved = site.audit_paths()
    assert len(moved) == len(inodes)
    assert set(moved) <= {escape(p) for p in expected}
    report = site.drover('report', 'evac').out
    assert 'ready' in report.lower()
    assert site.wait(timeout=1) == 0


def test_a_second_name_is_moved_with_its_file(site):
    site.make(4)
    site.tree.mkdir()
    for i in range(30):
        (site.tree / f'a{i}').write_bytes(os.urandom(3000))
        os.link(site.tree / f'a{i}', site.tree / f'b{i}')
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    before, digest = facts(site.ns, inode=True), site.digest()
    site.start(osts='0')
    site.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['succeeded'] == 30 and progress['succeeded'] + progress['unneeded'] == progress['discovered']
    assert_same(before, facts(site.ns, inode=True), 'the name space')
    assert site.digest() == digest
    assert all(v['links'] == 2 for v in before.values() if stat.S_ISREG(v['mode']))


def test_a_file_with_more_stripes_than_targets_is_overstriped(site):
    site.make(6)
    site.tree.mkdir()
    (site.tree / 'wide').write_bytes(os.urandom(6 * 65536 + 100))
    site.lab('import', site.tree, '--stripe-count', -1, '--stripe-size', '64K')
    assert len(site.objects_of(site.ns / 'wide', *range(6))) == 6
    digest = site.digest()
    site.start(osts='0-3')
    site.daemon()
    site.assert_moved(osts=(0, 1, 2, 3))
    assert len(site.objects_of(site.ns / 'wide', 4, 5)) == 6
    assert site.digest() == digest
    assert site.audit_paths() == ['wide']


def test_sparse_files_keep_their_holes(site):
    site.make(4)
    site.tree.mkdir()
    with open(site.tree / 'sparse', 'wb') as f:
        f.truncate(200 * MIB)
        for at in (0, 50 * MIB + 1, 199 * MIB):
            f.seek(at)
            f.write(b'data')
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    used = site.df()['total']['used_bytes']
    digest = site.digest()
    site.start(osts='0')
    site.daemon()
    site.assert_moved(osts=(0,))
    assert site.digest() == digest
    assert site.df()['total']['used_bytes'] <= used + MIB


def test_released_files_are_left_alone(site):
    site.make(3)
    site.tree.mkdir()
    make_files(site.tree, 12, dirs=1)
    site.only_on([0], 3, lambda: site.lab('import', site.tree))
    name = sorted(p for p, _, _, st in walk(site.ns) if stat.S_ISREG(st.st_mode))[0]
    site.lab('release', name)
    layout = os.getxattr(site.ns / os.fsdecode(name), 'user.lov')
    digest = site.digest()
    site.start(osts='0')
    site.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['succeeded'] == progress['discovered'] == 11
    assert os.getxattr(site.ns / os.fsdecode(name), 'user.lov') == layout
    assert site.digest() == digest


def test_a_dry_run_moves_nothing_and_says_so(site):
    site.make(4)
    site.lab('fill', '--files', 300, '--size', '0-8K')
    expected = site.names_on(0)
    digest, used, objects = site.digest(), site.used(), site.objects(0, 1, 2, 3)
    site.start(osts='0', dry_run=True)
    assert site.status()['dry_run'] is True
    site.daemon()
    assert site.wait() == 0
    site.ended()
    status = site.status()
    assert status['state'] == 'dry_run_completed' and status['dry_run'] is True
    assert status['progress']['discovered'] == status['progress']['succeeded'] == len(expected)
    assert (site.digest(), site.used(), site.objects(0, 1, 2, 3)) == (digest, used, objects)
    assert re.search('dry.run', site.drover('status', 'evac').out, re.I)
    assert [o['ready_to_remove'] for o in site.report()['osts']] == [False]
    assert site.audit_paths() == []


def test_the_first_daemon_may_make_it_a_dry_run(site):
    site.make(4)
    site.lab('fill', '--files', 100, '--size', '0-8K')
    objects = site.objects(0, 1, 2, 3)
    site.start(osts='0')
    site.daemon('evac', '--dry-run')
    assert site.wait() == 0
    site.ended()
    assert site.status()['dry_run'] is True and site.state() == 'dry_run_completed'
    assert site.objects(0, 1, 2, 3) == objects


def test_a_daemon_in_the_other_mode_is_refused(site):
    site.make(4)
    site.lab('fill', '--files', 400, '--size', '0-8K')
    site.set('1-3', 'slow', latency_ms=20)
    site.start(osts='0')
    first = site.daemon()
    site.running()
    other = site.daemon('evac', '--dry-run')
    assert other.ended(10) == 2
    assert len(other.log().splitlines()) >= 1 and 'dry' in other.log()
    assert first.alive() and site.status()['dry_run'] is False
    site.set('1-3', 'up')
    site.assert_moved(osts=(0,))


def test_exclusions_count_by_component_at_any_depth(site):
    """a/b is left out and a/bc is not; a name is left out wherever it stands."""
    site.make(4)
    paths = ['a/b/in', 'a/b/deep/in', 'a/bc/out', 'a/b.out', 'x/a/b/out', 'cache/in', 'x/y/cache/in', 'x/y/cache/z/in',
             'x/cached/out', 'x/acache/out', 'q/cache', 'tmp/old/in', 'z/tmp/old/deeper/in', 'tmp/older/out', 'z/tmp/out',
             'old/tmp/out', 'out']
    for p in paths:
        (site.tree / p).parent.mkdir(parents=True, exist_ok=True)
        (site.tree / p).write_bytes(os.urandom(100))
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    digest = site.digest()
    layouts = {p: os.getxattr(site.ns / p, 'user.lov') for p in paths}
    excluded = {p for p in paths if p.endswith('in')} | {'q/cache'}
    site.start(osts='0', exclude=[site.ns / 'a' / 'b', 'cache', 'tmp/old'])
    site.daemon()
    assert site.wait() == 0
    site.ended()
    left = {os.fsdecode(p) for p in site.names_on(0)}
    assert left == excluded
    assert all(os.getxattr(site.ns / p, 'user.lov') == layouts[p] for p in excluded)
    assert site.progress()['succeeded'] == site.progress()['discovered'] == len(paths) - len(excluded)
    ost, = site.report()['osts']
    assert ost['ready_to_remove'] is False and ost['objects'] == len(excluded)
    assert site.digest() == digest
    site.check()


def test_only_the_scan_paths_are_looked_at(site):
    """Globs, paths below one another (which count once), and a directory with brackets in its name."""
    site.make(3)
    for p in ('one/f', 'one/sub/g', 'two/h', 'three/i', '[x]/j'):
        (site.tree / p).parent.mkdir(parents=True, exist_ok=True)
        (site.tree / p).write_bytes(b'data')
    site.only_on([0], 3, lambda: site.lab('import', site.tree))
    site.start(osts='0', scan=[f'{site.ns}/o*', site.ns / 'one' / 'sub', site.ns / 'two', site.ns / '[x]'])
    site.daemon()
    assert site.wait() == 0
    site.ended()
    assert {os.fsdecode(p) for p in site.names_on(0)} == {'three/i'}
    assert site.progress()['discovered'] == 4


def odd_names(top):
    top = os.fsencode(top)
    os.mkdir(top)
    folders = [b'new\nfolder', b'\xff\xfe\xfd', b'quo"ted\'s', b'd' * 255, b' ', b'-rf', b'tab\there', b'back\\slash']
    names = [b'new\nline', b'\xff\n', b'\x80' * 255, b'n' * 255, b'quo"te\'s', b'*', b'\x01\x02', b'%s%n', b'\xc3\xa4',
             b'"', b'\\', b'...', b'-', b'\r']
    for d in [b''] + folders:
        if d:
            os.mkdir(os.path.join(top, d))
        for name in names:
            with open(os.path.join(top, d, name), 'wb') as f:
                f.write(d + b'/' + name)


def test_names_of_any_bytes_are_moved_logged_and_retried(site):
    odd_names(site.tree)
    site.make(4)
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    expected = site.names_on(0)
    assert len(expected) == 9 * 14
    digest, before = site.digest(), facts(site.ns, inode=True)
    busy = [p for p in expected if b'\xff' in p or b'\n' in p]
    held = [os.open(os.path.join(os.fsencode(site.ns), p), os.O_WRONLY) for p in busy]
    site.start(osts='0')
    site.daemon('evac', '--retry-delays', '')
    assert site.wait() == 3
    site.ended()
    assert site.names_on(0).keys() == set(busy)
    left = site.report('evac', '--all')['leftovers']
    prefix = escape(os.fsencode(site.ns)) + '/'
    assert {x['path'] for x in left} == {prefix + escape(p) for p in busy}
    assert {x['class'] for x in left} == {'busy'}
    assert set(site.audit_paths(kind='failed')) == {escape(p) for p in busy}
    for fd in held:
        os.close(fd)
    site.drover('retry-skipped', 'evac')
    site.daemon()
    site.assert_moved(osts=(0,))
    assert set(site.audit_paths()) == {escape(p) for p in expected}
    assert site.digest() == digest
    assert_same(before, facts(site.ns, inode=True), 'the name space')
    same_trees(site.export(), site.tree)


def test_paths_longer_than_4096_bytes(site):
    site.tree.mkdir()
    fd = os.open(site.tree, os.O_RDONLY | os.O_DIRECTORY)
    for i in range(60):
        name = 'deep-%03d-' % i + 'x' * 100
        os.mkdir(name, dir_fd=fd)
        if i % 10 == 9:
            out = os.open('file', os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
            os.write(out, b'at depth %d' % i)
            os.close(out)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    out = os.open('bottom', os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
    os.write(out, b'at the bottom')
    os.close(out)
    os.close(fd)
    site.make(3)
    site.only_on([0], 3, lambda: site.lab('import', site.tree))
    expected = site.names_on(0)
    assert len(expected) == 7 and max(len(p) for p in expected) > 4096
    digest = site.digest()
    site.start(osts='0')
    site.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['succeeded'] == 7
    assert site.digest() == digest
    assert set(site.audit_paths()) == {escape(p) for p in expected}


def test_a_directory_of_20000_entries(site):
    """It is read in pieces; the scan goes on from its position when its daemon is killed under way."""
    site.configure(fsync='no', scan_batch_size=200)
    site.make(8)
    site.lab('fill', '--files', 20000, '--size', '0-0', '--dirs', 1)
    expected = site.names_on(0)
    assert len(expected) > 2000
    site.start(osts='0')
    first, second = site.daemon(), site.daemon()
    until('some files are found', lambda: site.progress()['discovered'] > 100)
    first.kill()
    site.daemon()
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['discovered'] == progress['succeeded'] == len(expected)
    assert second.process.returncode == 0


@pytest.mark.slow
def test_a_directory_of_a_million_entries(site):
    site.configure(fsync='no', scan_batch_size=500)
    site.make(8)
    site.lab('fill', '--files', 1000000, '--size', '0-0', '--dirs', 1)
    expected = len(site.names_on(0))
    site.start(osts='0')
    daemons = [site.daemon() for _ in range(2)]
    assert site.wait(timeout=1800) == 0
    assert all(d.ended() == 0 for d in daemons)
    progress = site.assert_moved(osts=(0,))['progress']
    assert progress['discovered'] == progress['succeeded'] == expected


def test_a_tree_that_changes_while_it_is_scanned(site):
    """Files are renamed, removed and made, folders come and go; nothing is left on the source, nothing leaks."""
    site.configure(fsync='no')
    site.make(4)
    site.lab('fill', '--files', 4000, '--size', '0-4K', '--dirs', 40)
    kept = {}
    for path, _, _, st in walk(site.ns):
        if stat.S_ISREG(st.st_mode) and int(path[-3:]) % 10 == 7:
            kept[path] = st.st_ino
    stop, error, done = threading.Event(), [], [0]

    def change():
        number = 0
        try:
            while not stop.is_set():
                d = site.ns / f'd{number % 40:04d}'
                for f in list(os.scandir(d))[:20]:
                    if not f.name[1:].isdigit() or os.fsencode(f'{d.name}/{f.name}') in kept or f.is_dir():
                        continue
                    kind = number % 4
                    number += 1
                    if kind == 0:
                        os.unlink(f.path)
                    elif kind == 1:
                        os.rename(f.path, site.ns / f'd{number % 40:04d}' / f'moved{number}')
                    elif kind == 2:
                        (d / f'plain{number}').write_bytes(b'no file of the lab')
                    else:
                        (d / f'new{number}').mkdir(exist_ok=True)
                        os.rename(f.path, d / f'new{number}' / 'inside')
                number += 1
                done[0] = number
                time.sleep(0.001)  # it has to share two cores with the scan
        except BaseException as e:
            error.append(e)

    changer = threading.Thread(target=change, daemon=True)
    site.start(osts='0')
    changer.start()
    try:
        site.daemon()
        site.daemon()
        code = site.wait()
    finally:
        stop.set()
        changer.join()
    assert not error and done[0] > 100
    site.ended()
    status = site.status()
    if code == 3:
        # Only what came up anew at the last look may be left; a second campaign has it.
        assert status['progress']['failed'] == 0, status
        site.start('again', osts='0')
        site.daemon('again')
        code = site.wait('again')
        site.ended()
    assert code == 0, status
    site.check()
    site.assert_empty(0)
    names = {path: st.st_ino for path, _, _, st in walk(site.ns)}
    assert all(names.get(p) == inode for p, inode in kept.items())


def test_two_campaigns_share_a_machine_and_a_lab(site):
    """Their first choices of ports are the same; they have different sources."""
    site.make(6)
    site.lab('fill', '--files', 300, '--size', '0-8K')
    digest = site.digest()
    site.set('0-1', 'closed')
    site.start('left', osts='0')
    site.start('right', osts='1')
    one, two = site.daemon('left'), site.daemon('right')
    assert site.wait('left') == 0 and site.wait('right') == 0
    assert one.ended() == 0 and two.ended() == 0
    site.assert_empty(0, 1)
    site.check()
    assert site.digest() == digest


def test_the_lab_is_checked_by_a_proof_that_can_fail(site):
    """What the other tests rely on: check, and the search for objects, see a file that was not moved."""
    site.make(3)
    site.lab('fill', '--files', 6, '--size', '1K')
    site.start(osts='0')
    with pytest.raises(AssertionError):
        site.assert_empty(0)
    os.unlink(next(iter(site.objects(0))))
    assert run('drover-lab', 'check', site.lab_dir, check=1).out
