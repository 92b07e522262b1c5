# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clones of random trees, by daemons that are killed at random moments: what is left in the end is equal.

DROVER_SEED repeats one run. With DROVER_SLOW=1 the tests that are called soak go on for DROVER_SOAK_SECONDS (300), with new seeds.
"""
import os
import random
import shutil
import time

import pytest

import clone_trees
from clone_site import Site
from harness import FINAL, PATIENCE

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason='root is needed'),
              pytest.mark.skipif(not shutil.which('rsync'), reason='no rsync in the PATH')]

# Small chunks and parts, so that there is something to be killed in the middle of.
SMALL = {'scan_batch_size': 5, 'chunk_bytes': '1M', 'claim_timeout': 2}


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()
    for tree in (site.src, site.dst):
        clone_trees.remove(os.fsencode(tree))


def seed_of(fallback):
    seed = int(os.environ.get('DROVER_SEED', fallback))
    print(f'DROVER_SEED={seed}')
    return seed


def temporaries(site):
    return [p for p in clone_trees.entries(os.fsencode(site.dst)) if os.path.basename(p).startswith(b'.drover-')]


def facts(root):
    """What a pass that changes nothing leaves as it was. Flags that are taken off and put on again are a change."""
    found = {}
    for path in [b'', *clone_trees.entries(os.fsencode(root))]:
        st = os.lstat(os.path.join(os.fsencode(root), path) if path else os.fsencode(root))
        found[path] = (st.st_ino, st.st_ctime_ns, st.st_nlink)
    return found


def assert_equal(site, seed):
    assert clone_trees.differences(site.src, site.dst) == [], f'seed {seed}'
    assert temporaries(site) == []


def is_over(site, name):
    return site.status(name)['state'] in FINAL


def torment(site, name, rng, meanwhile=None, most=40):
    """Runs a campaign by up to three daemons, each killed after a random while; then by one that lives."""
    daemons = []
    for _ in range(most):
        if is_over(site, name):
            break
        while len(daemons) < rng.choice([1, 2, 3]):
            daemons.append(site.daemon(name))
        time.sleep(rng.choice([0, 0.02, 0.1, 0.3, 0.7]) * rng.random() + 0.02)
        if meanwhile:
            meanwhile()
        victim = daemons.pop(rng.randrange(len(daemons)))
        victim.kill()
        victim.wait()
    site.daemon(name)
    deadline = time.monotonic() + PATIENCE
    while not is_over(site, name) and time.monotonic() < deadline:
        time.sleep(0.1)
    for d in site.daemons:
        if d.poll() is None:
            d.wait(PATIENCE)
    return site.status(name)


def history(site, seed, flags, n=120, kills=12):
    """A tree's life with its clone: copied under fire, again in peace, changed during passes, and quiet in the end."""
    rng = random.Random(seed)
    site.options = dict(SMALL)
    tree = clone_trees.Maker(site.src, seed, flags=flags, max_bytes=3000000)
    tree.make(n)
    status = torment(site, site.start(), rng, most=kills)
    assert status['state'] == 'completed', (seed, status)
    assert clone_trees.differences(site.src, site.dst) == [], f'seed {seed}'

    status = site.run()
    assert status['state'] == 'completed', (seed, status)
    assert_equal(site, seed)
    before = facts(site.dst)
    status = site.run(n=2)
    assert status['state'] == 'completed', (seed, status)
    # The flags of directories are taken off for what may have to be made in them, and put on again.
    for count in ('succeeded', 'bytes_succeeded', 'deleted', 'dirs_made', *(() if flags else ('corrected',))):
        assert status['progress'][count] == 0, (seed, count, status['progress'])
    changed = {p: (facts_, before[p]) for p, facts_ in facts(site.dst).items() if facts_ != before[p]}
    if flags:
        changed = {p: f for p, f in changed.items()
                   if not clone_trees.flags_of(os.path.join(os.fsencode(site.dst), p) if p else os.fsencode(site.dst))}
    assert changed == {}, f'seed {seed}'

    # Neither side stands still: the target is only to be repaired by the pass that follows.
    for passes in ('copy', 'all'):
        status = torment(site, site.start('--pass', passes), rng, most=kills // 2, meanwhile=lambda: tree.change(3))
        assert status['state'] in ('completed', 'completed_with_leftovers'), (seed, status)
    tree.change(20)
    status = site.run(n=2)
    assert status['state'] == 'completed', (seed, status)
    assert_equal(site, seed)


@pytest.mark.parametrize('number', range(3))
def test_a_clone_under_fire_ends_equal(site, number):
    history(site, seed_of(100 + number), flags=number == 2)


@pytest.mark.slow
def test_soak_clones_under_fire_end_equal(tmp_path):
    end = time.monotonic() + float(os.environ.get('DROVER_SOAK_SECONDS', 300))
    seed = seed_of(random.randrange(1 << 30))
    while time.monotonic() < end:
        print(f'seed {seed}', flush=True)
        folder = tmp_path / str(seed)
        folder.mkdir()
        site = Site(folder)
        try:
            history(site, seed, flags=seed % 2 == 1, n=random.Random(seed).choice([40, 150, 400]))
        finally:
            site.close()
            for tree in (site.src, site.dst):
                clone_trees.remove(os.fsencode(tree))
        shutil.rmtree(folder)
        seed += 1
