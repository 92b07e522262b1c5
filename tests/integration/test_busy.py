# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that somebody uses: skipped, given back at once, moved later, and never swapped with old data."""
import contextlib
import os
import threading
import time

import pytest

from harness import MIB, make_files, until


def one_big_file(site, size=12 * MIB, bandwidth='1M', beside=0):
    """A lab with a file on OST 0 whose move takes some ten seconds, and a campaign to do it."""
    site.configure(retry_delays='1,1,1,1,1,1,1,1', scan_batch_size=1)
    site.make(4)
    site.tree.mkdir()
    (site.tree / 'big').write_bytes(os.urandom(size))
    if beside:
        make_files(site.tree / 'beside', beside, sizes=(0, 4000), dirs=1)
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    site.set('1-3', 'slow', latency_ms=0, bandwidth=bandwidth)
    site.start(osts='0')
    return site.ns / 'big'


def until_it_moves(site, path):
    """The new objects are there and data is in them: the copy is under way."""
    def look():
        with contextlib.suppress(OSError):
            return any(os.stat(o).st_blocks > 0 for o in site.objects_of(path, 1, 2, 3))
    until('the move is under way', look, 20)
    assert len(site.objects_of(path, 0)) == 1


def test_a_file_that_is_written_is_skipped_and_moved_by_itself_later(site):
    site.configure(retry_delays='1,1,1,1,1,1,1,1')
    site.make(4)
    site.lab('fill', '--files', 40, '--size', '1-8K')
    names = site.names_on(0)
    path = site.ns / os.fsdecode(sorted(names)[3])
    digest = site.digest()
    fd = os.open(path, os.O_WRONLY)
    site.start(osts='0')
    site.daemon()
    def all_but_one():
        p = site.progress()
        return p['skipped'] == 1 and p['succeeded'] == len(names) - 1
    until('all the others are moved', all_but_one)
    # A retry is due, so it is not over: two of them pass.
    attempts = len(site.audit('evac', 'failed'))
    until('it was tried again', lambda: len(site.audit('evac', 'failed')) >= attempts + 2)
    status = site.status()
    assert status['state'] == 'running'
    assert site.wait(timeout=1) == 124
    assert set(site.audit_paths(kind='failed')) == {os.fspath(path.relative_to(site.ns))}
    os.close(fd)
    status = site.assert_moved(osts=(0,))
    assert status['progress']['succeeded'] == status['progress']['discovered'] == len(names)
    assert status['progress']['skipped'] == 0
    assert site.digest() == digest


def test_a_file_held_to_the_end_is_a_leftover_and_is_moved_on_command(site):
    site.configure(retry_delays='1')
    site.make(4)
    site.lab('fill', '--files', 40, '--size', '1-8K')
    names = site.names_on(0, 1)
    on_0 = sorted(site.names_on(0))
    path = site.ns / os.fsdecode(on_0[0])
    fd = os.open(path, os.O_WRONLY)
    site.start()
    site.daemon()
    assert site.wait() == 3
    site.ended()
    assert site.state() == 'completed_with_leftovers'
    progress = site.progress()
    assert (progress['succeeded'], progress['skipped']) == (len(names) - 1, 1)
    report = site.report()
    left, = report['leftovers']
    assert left['path'] == os.fspath(path) and left['class'] == 'busy' and left['error'] == 'EBUSY' and left['osts'] == [0]
    osts = {o['ost']: o for o in report['osts']}
    assert osts[0]['ready_to_remove'] is False and osts[0]['files_left'] == 1 and osts[0]['objects'] == 1
    assert osts[1]['ready_to_remove'] is True
    text = site.drover('report', 'evac').out
    assert os.fspath(path) in text and 'busy' in text
    # While it is held nothing changes: no daemon works on what is over.
    again = site.daemon()
    assert again.ended() == 0 and site.state() == 'completed_with_leftovers'
    os.close(fd)
    site.drover('retry-skipped', 'evac')
    assert site.state() == 'reopened' and site.wait(timeout=1) == 124
    site.daemon()
    status = site.assert_moved()
    assert status['progress']['succeeded'] == status['progress']['discovered'] == len(names)
    assert site.report()['leftovers'] == []


def test_retry_skipped_on_a_running_campaign(site):
    """Without waiting for the retry that is an hour away."""
    site.configure(retry_delays='3600')
    site.make(3)
    site.lab('fill', '--files', 10, '--size', '1-8K')
    path = site.ns / os.fsdecode(sorted(site.names_on(0))[0])
    fd = os.open(path, os.O_WRONLY)
    site.start(osts='0')
    daemon = site.daemon()
    until('it is skipped', lambda: site.progress()['skipped'] == 1)
    os.close(fd)
    assert site.wait(timeout=1) == 124 and daemon.alive()
    site.drover('retry-skipped', 'evac')
    site.assert_moved(osts=(0,))


def test_a_writer_gets_through_within_a_second_while_the_file_moves(site):
    path = one_big_file(site)
    digest = site.digest()
    site.daemon()
    until_it_moves(site, path)
    layout = os.getxattr(path, 'user.lov')
    began = time.monotonic()
    fd = os.open(path, os.O_WRONLY)
    took = time.monotonic() - began
    assert took < 1, f'the open took {took:.2f} s'
    # The volatile file's objects go, and the file stays where it is.
    until('the new objects are gone', lambda: site.objects_of(path, 1, 2, 3) == [], 5)
    until('it is skipped', lambda: site.progress()['skipped'] == 1, 5)
    assert os.getxattr(path, 'user.lov') == layout and len(site.objects_of(path, 0)) == 1
    site.check()
    assert site.state() == 'running'
    site.set('1-3', 'up')
    os.close(fd)
    site.assert_moved(osts=(0,))
    assert site.digest() == digest


def test_a_reader_does_not_disturb_the_move(site):
    path = one_big_file(site, size=4 * MIB, bandwidth='2M')
    digest = site.digest()
    site.daemon()
    until_it_moves(site, path)
    with open(path, 'rb') as f:
        assert len(f.read()) == 4 * MIB
        status = site.assert_moved(osts=(0,))
    assert status['progress']['succeeded'] == 1
    assert site.audit('evac', 'failed') == []
    assert site.digest() == digest


def test_a_file_that_is_cut_while_it_moves(site):
    path = one_big_file(site)
    whole = (site.tree / 'big').read_bytes()
    site.daemon()
    until_it_moves(site, path)
    began = time.monotonic()
    os.truncate(path, 5 * MIB)
    took = time.monotonic() - began
    assert took < 1, f'truncate took {took:.2f} s'
    site.set('1-3', 'up')
    site.assert_moved(osts=(0,))
    assert (site.export() / 'big').read_bytes() == whole[:5 * MIB]


def test_a_file_that_is_renamed_while_it_moves(site):
    path = one_big_file(site, bandwidth='4M')
    site.daemon()
    until_it_moves(site, path)
    (site.ns / 'elsewhere').mkdir()
    os.rename(path, site.ns / 'elsewhere' / 'new name')
    site.set('1-3', 'up')
    site.assert_moved(osts=(0,))
    assert (site.export() / 'elsewhere' / 'new name').read_bytes() == (site.tree / 'big').read_bytes()


def test_a_file_that_is_removed_while_it_moves(site):
    path = one_big_file(site, beside=20)
    site.daemon()
    until_it_moves(site, path)
    os.unlink(path)
    site.set('1-3', 'up')
    status = site.assert_moved(osts=(0,))
    assert status['progress']['failed'] == 0
    assert sum(o['objects'] for o in site.df()['osts']) == 20


def test_a_file_that_another_one_replaces_while_it_moves(site):
    """Its name leads to another file then, which the campaign moves as well."""
    path = one_big_file(site)
    (site.dir / 'more').mkdir()
    (site.dir / 'more' / 'second').write_bytes(b'the second one')
    site.set('1-3', 'closed')
    site.lab('import', site.dir / 'more')
    site.set('1-3', 'slow', latency_ms=0, bandwidth='1M')
    site.daemon()
    until_it_moves(site, path)
    os.rename(site.ns / 'second', path)
    site.set('1-3', 'up')
    site.assert_moved(osts=(0,))
    assert (site.export() / 'big').read_bytes() == b'the second one'


def test_a_file_changed_during_the_copy_is_never_swapped_with_old_data(site):
    """A writer appends and closes, again and again: whatever the moves do, no byte of its size is lost."""
    path = one_big_file(site, size=3 * MIB, bandwidth='3M')
    whole = (site.tree / 'big').read_bytes()
    site.configure(retry_delays=','.join(['1'] * 16))
    stop, error, added, slowest = threading.Event(), [], [0], [0]

    def write():
        try:
            while not stop.is_set():
                began = time.monotonic()
                with open(path, 'ab') as f:
                    f.write(b'\0')
                slowest[0] = max(slowest[0], time.monotonic() - began)
                added[0] += 1
                stop.wait(0.13)
        except BaseException as e:
            error.append(e)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    site.daemon()
    try:
        until('some moves were given up', lambda: site.progress()['skipped'] == 1 and added[0] > 20)
        assert len(site.objects_of(path, 0)) == 1
    finally:
        stop.set()
        writer.join()
    assert not error
    assert slowest[0] < 1, f'a write took {slowest[0]:.2f} s'
    site.set('1-3', 'up')
    mtime = os.stat(path).st_mtime_ns
    if site.wait() == 3:
        site.ended()
        site.drover('retry-skipped', 'evac')
        site.daemon()
    site.assert_moved(osts=(0,))
    assert os.stat(path).st_mtime_ns == mtime
    assert (site.export() / 'big').read_bytes() == whole + b'\0' * added[0]


def test_times_and_mode_set_while_it_moves_are_kept(site):
    """chmod, chown and utimes need no open file; what they say is what stays."""
    path = one_big_file(site, bandwidth='3M')
    digest = site.digest()
    site.daemon()
    until_it_moves(site, path)
    os.chmod(path, 0o751)
    os.setxattr(path, 'user.colour', b'green')
    os.utime(path, ns=(10**18, 10**18 + 12345))
    site.set('1-3', 'up')
    site.assert_moved(osts=(0,))
    st = os.stat(path)
    assert (st.st_mode & 0o7777, st.st_mtime_ns) == (0o751, 10**18 + 12345)
    assert os.getxattr(path, 'user.colour') == b'green'
    assert site.digest() == digest


@pytest.mark.parametrize('when', ['killed', 'stopped'])
def test_no_new_objects_stay_of_a_daemon_that_ends_in_mid_move(site, when):
    path = one_big_file(site)
    digest = site.digest()
    daemon = site.daemon()
    until_it_moves(site, path)
    if when == 'killed':
        daemon.kill()
    else:
        daemon.terminate()
        assert daemon.ended(10) == 0
    site.check()
    assert site.objects_of(path, 1, 2, 3) == [] and len(site.objects_of(path, 0)) == 1
    site.set('1-3', 'up')
    site.daemon()
    assert site.assert_moved(osts=(0,))['progress']['succeeded'] == 1
    assert site.digest() == digest
