# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clones as their users run them, compared by rsync."""
import os
import random
import shutil
import signal
import stat
import subprocess
import time

import pytest

from clone_site import Site, differences
from harness import until

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason='root is needed'),
              pytest.mark.skipif(not shutil.which('rsync'), reason='no rsync in the PATH')]


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def fill(top, seed=1, files=60):
    """A small tree with one of everything."""
    rng = random.Random(seed)
    dirs = [top]
    for i in range(12):
        d = rng.choice(dirs) / rng.choice([f'd{i}', f'ü{i}', f'sp ace{i}', f'new\nline{i}'])
        d.mkdir(exist_ok=True)
        os.chmod(d, rng.choice([0o755, 0o700, 0o2775, 0o1777]))
        dirs.append(d)
    made = []
    for i in range(files):
        p = os.fsencode(rng.choice(dirs)) + b'/' + rng.choice([b'f%d', b'\xff%d', b'x y%d', b"q'%d"]) % i
        kind = rng.random()
        if kind < 0.55:
            with open(p, 'wb') as f:
                f.write(rng.randbytes(rng.choice([0, 1, 4096, 5000, 300000])))
            os.chmod(p, rng.choice([0o644, 0o600, 0o4755, 0o2755, 0o000]))
            made.append(p)
        elif kind < 0.65:
            with open(p, 'wb') as f:
                f.write(b'begin')
                f.seek(5 << 20)
                f.write(b'end')
            made.append(p)
        elif kind < 0.75 and made:
            os.link(rng.choice(made), p)
        elif kind < 0.9:
            os.symlink(rng.choice([b'nowhere', b'../x', b'/etc/passwd', b'\xfe']), p)
        elif kind < 0.94:
            os.mkfifo(p, 0o640)
        elif kind < 0.97:
            os.mknod(p, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        else:
            os.mknod(p, 0o600 | stat.S_IFSOCK)
        if rng.random() < 0.2 and not os.path.islink(p):
            os.setxattr(p, b'user.x' if os.path.isfile(p) else b'trusted.x', rng.randbytes(20))
        os.chown(p, rng.choice([0, 1000, 70000]), rng.choice([0, 1000]), follow_symlinks=False)
        os.utime(p, ns=(rng.randrange(10 ** 18), rng.randrange(10 ** 18)), follow_symlinks=False)
    for d in reversed(dirs):
        os.utime(d, ns=(rng.randrange(10 ** 18), rng.randrange(10 ** 18)))
    return rng


def test_a_clone_is_equal_and_a_second_pass_does_nothing(site):
    fill(site.src)
    status = site.run()
    assert differences(site.src, site.dst) == []
    assert status['state'] == 'completed'
    inodes = {p: p.lstat().st_ino for p in site.dst.rglob('*')}
    ctimes = {p: p.lstat().st_ctime_ns for p in site.dst.rglob('*') if not p.is_dir()}
    status = site.run()
    assert status['progress']['succeeded'] == 0
    assert status['progress']['bytes_succeeded'] == 0
    assert inodes == {p: p.lstat().st_ino for p in site.dst.rglob('*')}
    assert ctimes == {p: p.lstat().st_ctime_ns for p in site.dst.rglob('*') if not p.is_dir()}
    assert [p for p in site.dst.rglob('.drover*')] == []


def test_passes_over_a_changing_tree_end_equal(site):
    rng = fill(site.src)
    site.run('--pass', 'copy')
    for turn in range(3):
        files = [p for p in site.src.rglob('*') if p.is_file() and not p.is_symlink()]
        for p in rng.sample(files, 5):
            how = rng.random()
            if how < 0.3:
                p.unlink()
            elif how < 0.6:
                p.write_bytes(rng.randbytes(1000))
            elif how < 0.8:
                os.chmod(p, 0o640)
            else:
                os.rename(p, p.parent / f'renamed{turn}{rng.random()}')
        (site.src / f'new{turn}').mkdir()
        (site.src / f'new{turn}' / 'file').write_text('x')
        if turn == 1:
            shutil.rmtree(rng.choice([p for p in site.src.iterdir() if p.is_dir()]))
        site.run()
        assert differences(site.src, site.dst) == []


def test_several_daemons_that_are_killed_lose_nothing(site):
    fill(site.src, files=800)
    site.options = {'scan_batch_size': 10, 'chunk_bytes': '1M', 'claim_timeout': 2}
    name = site.start()
    rng = random.Random(3)
    end = time.monotonic() + 60
    while site.status(name)['state'] not in ('completed', 'completed_with_leftovers', 'failed') and time.monotonic() < end:
        d = site.daemon(name)
        time.sleep(rng.uniform(0.05, 0.6))
        d.kill()
        d.wait()
    site.daemon(name)
    site.wait(name)
    assert differences(site.src, site.dst) == []
    site.run()
    assert [p for p in site.dst.rglob('.drover*')] == []
    assert differences(site.src, site.dst) == []
