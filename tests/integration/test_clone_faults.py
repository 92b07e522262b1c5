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


def test_a_quota_pauses(site, faults):
    fill(site.src)
    faults(f'write /dst/ {errno.EDQUOT}')
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
    left = [line for line in clone_trees.differences(site.src, site.dst) if line.startswith(('missing', 'extra', 'data'))]
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
