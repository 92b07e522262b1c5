# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clones that meet broken disks, full targets, and what users ask of them: nothing is lost, and nothing is claimed that is not so."""
import contextlib
import errno
import os
import pathlib
import shutil
import subprocess
import time

import pytest

import clone_trees
from clone_site import Site
from harness import BUILD, until

FAULT = BUILD.parent / 'tests' / 'integration' / 'clone-fault.so'
pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason='root is needed'),
              pytest.mark.skipif(not shutil.which('rsync'), reason='no rsync in the PATH')]
needs_faults = pytest.mark.skipif(not FAULT.exists(), reason='no clone-fault.so beside the programs')


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    # A claim that was dropped with its error comes back soon.
    site.options = {'claim_timeout': 2}
    yield site
    site.close()


@pytest.fixture
def faults(site, monkeypatch):
    """Sets what fails: lines of clone_fault.c."""
    file = site.dir / 'faults'
    file.write_text('')

    def set_faults(*lines):
        new = site.dir / 'faults.new'
        new.write_text(''.join(f'{line}\n' for line in lines))
        os.replace(new, file)
    monkeypatch.setenv('CLONE_FAULTS', str(file))
    real = site.daemon

    def daemon(name):
        with monkeypatch.context() as patch:
            patch.setenv('LD_PRELOAD', str(FAULT))
            return real(name)
    monkeypatch.setattr(site, 'daemon', daemon)
    return set_faults


@contextlib.contextmanager
def mounted(folder, *words):
    done = subprocess.run(['mount', *words, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'no mounting here: {done.stderr}')
    try:
        yield
    finally:
        subprocess.run(['umount', '-l', folder], check=True)


def fill(top, n=30, size=20000):
    for i in range(n):
        folder = pathlib.Path(top) / f'd{i % 5}'
        folder.mkdir(exist_ok=True)
        (folder / f'f{i}').write_bytes(os.urandom(size))


def is_equal(site):
    return clone_trees.differences(site.src, site.dst) == []


def progress(site, name):
    return site.status(name)['progress']


def after(site, name, code=0):
    """Runs the daemon of a campaign that was opened again."""
    daemon = site.daemon(name)
    site.wait(name, code)
    daemon.wait(60)
    return site.status(name)


# ---- a full target ----

@pytest.mark.parametrize('kind', ['bytes', 'inodes'])
def test_a_full_target_pauses_and_goes_on_when_there_is_room(site, kind):
    fill(site.src, 60, 40000)
    for i in range(40):
        (site.src / f'empty{i}').mkdir()
    options = {'bytes': ('size=1m', 'size=20m'), 'inodes': ('nr_inodes=40', 'nr_inodes=4000')}[kind]
    with mounted(site.dst, '-t', 'tmpfs', '-o', options[0], 'none'):
        name = site.start()
        daemon = site.daemon(name)
        status = until('it pauses', lambda: (s := site.status(name))['state'] == 'paused' and s)
        assert 'no room' in status['reason'], status
        subprocess.run(['mount', '-o', f'remount,{options[1]}', site.dst], check=True)
        site.drover('resume', name)
        site.wait(name)
        daemon.wait(60)
        status = site.status(name)
        assert status['state'] == 'completed'
        assert progress(site, name)['no_space'] == 0
        assert is_equal(site)


@needs_faults
@pytest.mark.parametrize('call', ['write', 'sync'])
def test_a_quota_pauses(site, faults, call):
    """Also one that the file system tells of no sooner than in a sync."""
    fill(site.src)
    faults(f'{call} /dst {errno.EDQUOT}')
    name = site.start()
    daemon = site.daemon(name)
    status = until('it pauses', lambda: (s := site.status(name))['state'] == 'paused' and s)
    assert 'quota' in status['reason'], status
    faults()
    site.drover('resume', name)
    site.wait(name)
    daemon.wait(60)
    assert is_equal(site)


# ---- broken disks ----

@needs_faults
@pytest.mark.parametrize('chunk', ['1G', '1M'])
@pytest.mark.parametrize('fault, step', [('read /src/d1/f1', 'copy'), ('write /dst/d1/', 'write')])
def test_a_broken_file_is_reported_and_all_else_is_copied(site, faults, fault, step, chunk):
    fill(site.src)
    (site.src / 'd1' / 'f1').write_bytes(os.urandom(3 << 20))
    site.options['chunk_bytes'] = chunk
    faults(f'{fault} {errno.EIO}')
    status = site.run(code=3)
    assert status['state'] == 'completed_with_leftovers'
    assert status['progress']['failed'] > 0
    report = site.drover('report', 'c1')
    assert f'{step}: EIO' in report
    # What is done of a huge file stays for those who try it again.
    left = [line for line in clone_trees.differences(site.src, site.dst)
            if line.startswith(('missing', 'extra', 'data')) and '/.drover-' not in line]
    assert left and all("'d1/" in line for line in left)
    if step == 'copy':
        # f10 and f11 of f1* are in d0 and d1.
        assert all("'d1/f1" in line for line in left)
    faults()
    site.drover('retry-failed', 'c1')
    status = after(site, 'c1')
    assert status['state'] == 'completed', status
    assert is_equal(site)


@needs_faults
def test_an_entry_of_which_nothing_can_be_learned_is_reported(site, faults):
    """Where the file system does not say what an entry is, and it cannot be asked."""
    fill(site.src)
    faults('type /src/d1 1', f'stat /src/d1/f1 {errno.EIO}')
    status = site.run(code=3)
    assert status['state'] == 'completed_with_leftovers'
    assert 'd1/f1: EIO' in site.drover('report', 'c1')
    assert not (site.dst / 'd1' / 'f1').exists()
    faults('type /src/d1 1')
    assert site.run()['state'] == 'completed'
    assert is_equal(site)


@needs_faults
def test_what_a_failed_sync_leaves_is_not_counted(site, faults):
    fill(site.src)
    faults()
    site.run('--pass', 'copy')
    for i in range(5):
        (site.src / f'd{i}' / f'f{i}').write_bytes(b'new')
    faults(f'sync /dst {errno.EIO}')
    status = site.run('--pass', 'copy', code=3)
    assert status['progress']['succeeded'] == 0
    assert status['progress']['failed'] == 5
    assert 'sync: EIO' in site.drover('report', 'c2')
    # They look as they should, and what is on the disk may be anything: as if the cache had been lost.
    for i in range(5):
        path = site.dst / f'd{i}' / f'f{i}'
        st = path.stat()
        with open(path, 'r+b') as f:
            f.write(b'\0\0\0')
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    faults()
    site.drover('retry-failed', 'c2')
    status = after(site, 'c2')
    assert status['state'] == 'completed', status
    assert all((site.dst / f'd{i}' / f'f{i}').read_bytes() == b'new' for i in range(5))


@needs_faults
def test_what_was_not_on_disk_for_want_of_room_is_copied_again(site, faults):
    """The campaign waits; whoever goes on must not take what was not written for what was."""
    fill(site.src)
    faults()
    site.run('--pass', 'copy')
    paths = [site.dst / f'd{i}' / f'f{i}' for i in range(5)]
    for i in range(5):
        (site.src / f'd{i}' / f'f{i}').write_bytes(b'new')
    faults(f'sync /dst {errno.ENOSPC}')
    name = site.start('--pass', 'copy')
    daemon = site.daemon(name)
    until('it pauses', lambda: site.status(name)['state'] == 'paused')
    until('they look as they should', lambda: all(path.stat().st_size == 3 for path in paths))
    for path in paths:
        st = path.stat()
        with open(path, 'r+b') as f:
            f.write(b'\0\0\0')
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    faults()
    site.drover('resume', name)
    site.wait(name)
    daemon.wait(60)
    assert site.status(name)['state'] == 'completed'
    assert all(path.read_bytes() == b'new' for path in paths)


@needs_faults
def test_a_lost_write_is_told_to_those_whose_it_was(site, faults):
    """Linux tells of it once to each open file: a scanner that syncs its directories must not take the news from the movers."""
    fill(site.src)
    faults()
    site.run('--pass', 'copy')
    for i in range(5):
        (site.src / f'd{i}' / f'f{i}').write_bytes(b'new')
        (site.src / f'd{i}' / 'sub').mkdir()
    faults(f'lost /dst {errno.EIO}')
    status = site.run('--pass', 'copy', code=3)
    assert status['state'] == 'completed_with_leftovers'
    assert status['progress']['failed'] == 5, status['progress']
    assert 'sync: EIO' in site.drover('report', 'c2')


@needs_faults
def test_directories_that_are_not_on_disk_are_not_counted(site, faults):
    """A scan whose sync failed begins again at its last settle, whatever it had found."""
    fill(site.src)
    for i in range(200):
        (site.src / 'd1' / f'sub{i}').mkdir()
    site.options['scan_batch_size'] = 3
    faults(f'sync /dst {errno.EIO}')
    name = site.start()
    daemon = site.daemon(name)
    until('a scan fails', lambda: 'target-not-synced' in site.log(name))
    assert progress(site, name)['dirs_made'] == 0
    faults()
    site.wait(name)
    daemon.wait(60)
    assert site.status(name)['state'] == 'completed'
    assert is_equal(site)


@needs_faults
@pytest.mark.parametrize('passes', ['all', 'delete'])
def test_a_source_that_cannot_be_listed_deletes_nothing(site, faults, passes):
    fill(site.src)
    faults()
    site.run()
    for i in range(5):
        (site.dst / f'd{i}' / 'more').write_text('x')
    faults(f'list /src/d1 {errno.EIO}')
    status = site.run('--pass', passes, code=3)
    assert status['state'] == 'completed_with_leftovers'
    assert sorted(os.listdir(site.dst / 'd1')) == sorted([*os.listdir(site.src / 'd1'), 'more'])
    assert not (site.dst / 'd2' / 'more').exists()
    assert 'd1' in site.drover('report', 'c2')
    faults()
    site.drover('retry-failed', 'c2')
    status = after(site, 'c2')
    assert status['state'] == 'completed', status
    assert not (site.dst / 'd1' / 'more').exists()


# ---- what changes its type, its links, its size ----

@pytest.mark.parametrize('chunk', ['1G', '1M'])
def test_files_and_directories_take_each_others_place(site, chunk):
    fill(site.src)
    site.options['chunk_bytes'] = chunk
    (site.src / 'full' / 'of' / 'more').mkdir(parents=True)
    (site.src / 'full' / 'of' / 'file').write_text('x')
    (site.src / 'linked' / 'in').mkdir(parents=True)
    site.run()
    for name in ('full', 'linked', 'd1'):
        shutil.rmtree(site.src / name)
    (site.src / 'full').write_bytes(os.urandom(5 << 20))
    (site.src / 'linked').write_text('two names')
    os.link(site.src / 'linked', site.src / 'another')
    (site.src / 'd1').symlink_to('d2')
    (site.src / 'd2' / 'f2').unlink()
    (site.src / 'd2' / 'f2').mkdir()
    (site.src / 'd2' / 'f2' / 'below').write_text('y')
    status = site.run('--pass', 'copy', code=3)
    assert status['progress']['refused'] >= 3
    assert (site.dst / 'full' / 'of' / 'file').exists()
    # A file that is left out leaves the directory that it would have replaced.
    site.run('--pass', 'all', '--min-size', '100M')
    assert (site.dst / 'full' / 'of' / 'file').exists()
    status = site.run()
    assert status['state'] == 'completed', status
    assert is_equal(site)


def test_groups_of_links_split_and_merge(site):
    for folder in ('a', 'b'):
        (site.src / folder).mkdir()
    one, two = site.src / 'a' / 'one', site.src / 'b' / 'two'
    one.write_text('one')
    two.write_text('two')
    for i in range(4):
        os.link(one, site.src / 'b' / f'one{i}')
        os.link(two, site.src / 'a' / f'two{i}')
    site.run(n=2)
    assert is_equal(site)
    # One name changes sides, one leaves with its own content, one with the same, and a group becomes a single file.
    (site.src / 'b' / 'one0').unlink()
    os.link(two, site.src / 'b' / 'one0')
    (site.src / 'b' / 'one1').unlink()
    (site.src / 'b' / 'one1').write_text('alone')
    subprocess.run(['cp', '-a', site.src / 'b' / 'one2', site.src / 'b' / 'new'], check=True)
    os.replace(site.src / 'b' / 'new', site.src / 'b' / 'one2')
    site.run(n=2)
    assert is_equal(site)
    one.unlink()
    (site.src / 'b' / 'one3').write_text('single')
    for path in site.src.glob('a/two*'):
        path.unlink()
        os.link(site.src / 'b' / 'one3', path)
    site.run(n=2)
    assert is_equal(site)
    status = site.run()
    assert status['progress']['succeeded'] == 0


def test_a_huge_file_that_changes_is_never_half_in_the_target(site):
    site.options['chunk_bytes'] = '1M'
    path = site.src / 'huge'
    path.write_bytes(b'a' * (12 << 20))
    name = site.start()
    daemons = [site.daemon(name) for _ in range(2)]
    for i in range(200):
        if site.status(name)['state'] not in ('created', 'running'):
            break
        with open(path, 'r+b') as f:
            f.write(bytes([98 + i % 20]) * (12 << 20))
        if (site.dst / 'huge').exists():
            # What was seen under the name was whole, be it as of a moment in which it was being written.
            assert (site.dst / 'huge').stat().st_size == 12 << 20
    for d in daemons:
        d.wait(60)
    assert site.status(name)['state'] in ('completed', 'completed_with_leftovers')
    site.run()
    assert is_equal(site)
    assert [p for p in os.listdir(site.dst) if p.startswith('.drover')] == []


def test_checksum_finds_what_times_hide(site):
    fill(site.src)
    site.run()
    path = site.dst / 'd1' / 'f1'
    st = path.stat()
    with open(path, 'r+b') as f:
        f.write(b'other')
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    assert site.run()['progress']['succeeded'] == 0
    status = site.run('--checksum')
    assert status['progress']['succeeded'] == 1
    assert is_equal(site)


# ---- bounds, filters, looking without touching ----

def names(top):
    return sorted(p.relative_to(top) for p in pathlib.Path(top).rglob('*'))


@pytest.mark.parametrize('bound, may', [('3', False), ('4', True), ('9%', False), ('20%', True), ('0', False)])
def test_max_delete(site, bound, may):
    fill(site.src, 25)
    site.run()
    for i in range(4):
        (site.src / 'd1' / f'f{1 + 5 * i}').unlink()
    before = names(site.dst)
    assert len(before) == 30
    status = site.run('--max-delete', bound, code=0 if may else 4)
    assert status['state'] == ('completed' if may else 'failed')
    if may:
        assert is_equal(site)
        log, = (site.dir / 'campaigns' / 'c2' / 'logs').glob('*.deleted.log')
        assert sorted(log.read_text().splitlines()) == [f'deleted "d1/f{n}"' for n in (1, 11, 16, 6)]
    else:
        assert names(site.dst) == before
        assert '4 entries' in status['reason'] and bound in status['reason']


def test_a_dry_run_changes_nothing_and_counts(site):
    fill(site.src)
    os.link(site.src / 'd1' / 'f1', site.src / 'd2' / 'link')
    status = site.run('--dry-run')
    assert status['state'] == 'dry_run_completed'
    assert names(site.dst) == []
    assert status['progress']['succeeded'] == 31
    assert status['progress']['dirs_made'] == 5
    site.run()
    (site.src / 'd1' / 'f6').unlink()
    (site.src / 'd1' / 'f11').write_text('new')
    before = {p: (site.dst / p).lstat() for p in [pathlib.Path(), *names(site.dst)]}
    status = site.run('--dry-run')
    assert status['progress']['succeeded'] == 1
    assert {p: (site.dst / p).lstat() for p in [pathlib.Path(), *names(site.dst)]} == before


def test_what_is_left_out_is_counted_and_never_deleted(site):
    fill(site.src)
    site.run()
    (site.dst / 'd3' / 'only here').write_text('x')
    (site.dst / 'd4' / 'only here').write_text('x')
    (site.src / 'd0' / 'f0').write_bytes(b'now small')
    os.chown(site.src / 'd0' / 'f5', 4711, 0)
    os.utime(site.src / 'd0' / 'f10', ns=(1, 1))
    (site.src / 'd3' / 'f3').unlink()
    (site.dir / 'exceptions').write_text('# kept\nd4\n')
    for words, left_out in ((['--min-size', '10K'], 1), (['--owner', '0'], 1), (['--oldest', '1000d'], 1), (['--newest', '1d'], 27)):
        status = site.run('--exclude-path', 'd3', '--exceptions', site.dir / 'exceptions', '--pass', 'delete,copy', *words)
        # of d3 and d4, 12 files, nobody knows
        assert status['progress']['filtered'] in (left_out, 17), (words, status['progress'])
        assert status['progress']['deleted'] == 0
        for kept in ('d3/only here', 'd4/only here', 'd3/f3', 'd0/f0', 'd0/f5', 'd0/f10'):
            assert (site.dst / kept).exists(), (words, kept)


def test_verify_finds_each_kind_of_difference(site):
    fill(site.src)
    os.link(site.src / 'd1' / 'f1', site.src / 'd2' / 'link')
    (site.src / 'link').symlink_to('here')
    site.run()
    status = site.run('--pass', 'verify', '--manifest')
    assert status['state'] == 'completed', status
    manifest, = (site.dir / 'campaigns' / 'c2').glob('manifest.*')
    assert len(manifest.read_text().splitlines()) == 31
    subprocess.run(['sha256sum', '-c', '--quiet', manifest], cwd=site.dst, check=True)
    dst = site.dst
    changes = {
        'content': (dst / 'd0' / 'f0', lambda p: (t := p.stat(), p.write_bytes(b'0' * 20000),
                                                  os.utime(p, ns=(t.st_atime_ns, t.st_mtime_ns)))),
        'size': (dst / 'd0' / 'f5', lambda p: p.write_bytes(b'')),
        'mode': (dst / 'd0' / 'f10', lambda p: p.chmod(0o4700)),
        'owner': (dst / 'd0' / 'f15', lambda p: os.chown(p, 5, 5)),
        'times': (dst / 'd0' / 'f20', lambda p: os.utime(p, ns=(5, 5))),
        'xattrs': (dst / 'd0' / 'f25', lambda p: os.setxattr(p, 'user.more', b'x')),
        'missing': (dst / 'd1' / 'f6', lambda p: p.unlink()),
        'only in the target': (dst / 'd1' / 'more', lambda p: p.write_text('x')),
        'type': (dst / 'd2' / 'f2', lambda p: (p.unlink(), p.symlink_to('x'))),
        'link': (dst / 'link', lambda p: (p.unlink(), p.symlink_to('there'))),
        'dir mode': (dst / 'd4', lambda p: p.chmod(0o700)),
    }
    for path, change in changes.values():
        change(path)
    before = names(dst)
    status = site.run('--pass', 'verify', code=3)
    log = site.log('c3')
    for kind, (path, _) in changes.items():
        assert f'path="{path.relative_to(dst)}"' in log, kind
    assert status['state'] == 'completed_with_leftovers'
    assert names(dst) == before
    site.run('--checksum')
    assert is_equal(site)
    assert site.run('--pass', 'verify')['state'] == 'completed'


def test_a_manifest_is_of_the_source(site):
    """What differs stands in it too: sha256sum finds it again in the target."""
    fill(site.src)
    (site.src / 'empty').touch()
    (site.src / 'odd\nname').write_text('x')
    site.run()
    (site.dst / 'd1' / 'f1').write_text('other')
    site.run('--pass', 'verify', '--manifest', code=3)
    manifest, = (site.dir / 'campaigns' / 'c2').glob('manifest.*')
    assert len(manifest.read_text().splitlines()) == 32
    subprocess.run(['sha256sum', '-c', '--quiet', manifest], cwd=site.src, check=True)
    done = subprocess.run(['sha256sum', '-c', '--quiet', manifest], cwd=site.dst, capture_output=True, text=True)
    assert done.stdout == 'd1/f1: FAILED\n'


# ---- trees that go away, pauses ----

def test_no_job_is_taken_while_the_target_is_away(site):
    fill(site.src)
    with mounted(site.dst, '-t', 'tmpfs', 'none'):
        name = site.start()
    daemon = site.daemon(name)
    until('it says so', lambda: 'tree-refused' in site.log(name) or 'tree-away' in site.log(name))
    time.sleep(1)
    assert names(site.dst) == []
    assert progress(site, name)['succeeded'] == 0
    daemon.kill()


def test_pause_and_resume_with_two_daemons(site):
    fill(site.src, 600, 3000)
    site.options['scan_batch_size'] = 5
    name = site.start()
    daemons = [site.daemon(name) for _ in range(2)]
    until('it runs', lambda: site.status(name)['state'] != 'created')
    for _ in range(3):
        done = subprocess.run([BUILD / 'drover', '--config', site.conf(), 'pause', name], capture_output=True, text=True)
        if done.returncode:
            assert site.status(name)['state'] == 'completed', done
            break
        assert site.status(name)['state'] == 'paused'
        n = progress(site, name)['succeeded']
        time.sleep(0.3)
        assert progress(site, name)['succeeded'] == n
        site.drover('resume', name)
    site.wait(name)
    for d in daemons:
        d.wait(60)
    assert is_equal(site)


def test_a_delete_pass_does_not_begin_once_another_source_was_copied_there(site):
    fill(site.src)
    site.run()
    other = site.dir / 'other'
    other.mkdir()
    (other / 'file').write_text('x')
    waiting = site.start('--pass', 'delete')
    name = site.start('--merge', src=other)
    daemon = site.daemon(name)
    site.wait(name)
    daemon.wait(60)
    daemon = site.daemon(waiting)
    site.wait(waiting, 4)
    daemon.wait(60)
    assert 'something else was copied' in site.status(waiting)['reason']
    assert (site.dst / 'file').exists()


def test_an_empty_mount_point_is_no_source(site):
    """An empty mount point is no source that lost everything."""
    with mounted(site.src, '-t', 'tmpfs', 'none'):
        fill(site.src)
        site.run()
        name = site.start()
    daemon = site.daemon(name)
    until('it says so', lambda: 'tree-refused' in site.log(name) or 'tree-away' in site.log(name))
    time.sleep(0.5)
    assert len(names(site.dst)) == 35
    daemon.kill()

