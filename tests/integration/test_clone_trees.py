# SPDX-License-Identifier: LGPL-2.1-or-later
"""The trees of the clones' property test: that its comparison sees what differs, and nothing else."""
import os
import shutil
import stat
import subprocess

import pytest

import clone_trees

needs_rsync = pytest.mark.skipif(not clone_trees.RSYNC, reason='rsync is not installed')


@pytest.fixture
def trees(tmp_path):
    a, b = os.fsencode(tmp_path / 'a'), os.fsencode(tmp_path / 'b')
    yield a, b
    for tree in (a, b):
        clone_trees.remove(tree)


def copy(a, b):
    subprocess.run([clone_trees.RSYNC, '-aHAXS', '--modify-window=-1', '--checksum', '--delete', a + b'/', b + b'/'], check=True)


@needs_rsync
@pytest.mark.parametrize('seed', range(2))
def test_copies_are_equal_and_changes_are_seen(trees, seed):
    a, b = trees
    tree = clone_trees.Maker(a, seed).make(100)
    copy(a, b)
    assert clone_trees.differences(a, b) == []
    tree.change(20)
    assert clone_trees.differences(a, b)
    copy(a, b)
    assert clone_trees.differences(a, b) == []


def test_a_seed_makes_the_same_tree_again(trees):
    for tree in trees:
        clone_trees.Maker(tree, 5).make(60).change(20)
    names = [list(clone_trees.entries(tree)) for tree in trees]
    assert names[0] == names[1]


def test_there_is_something_of_everything(trees):
    a, _ = trees
    clone_trees.Maker(a, 1).make(250)
    modes = [os.lstat(os.path.join(a, p)).st_mode for p in clone_trees.entries(a)]
    kinds = {stat.S_IFMT(mode) for mode in modes}
    assert kinds >= {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK}
    assert any(mode & stat.S_ISUID for mode in modes)
    assert any(len(p) > 2000 for p in clone_trees.entries(a))
    assert clone_trees.links_of(a, clone_trees.entries(a))


@needs_rsync
@pytest.mark.parametrize('what', ['data', 'nanosecond', 'mode', 'links', 'sparse', 'extra'])
def test_each_difference_is_seen(trees, what):
    a, b = trees
    os.mkdir(a)
    for name in (b'f', b'g'):
        with open(os.path.join(a, name), 'wb') as f:
            f.write(b'data')
            f.truncate(1 << 20)
    os.utime(a, ns=(1, 1))  # rsync leaves a directory's time within the same second
    copy(a, b)
    assert clone_trees.differences(a, b) == []
    file = os.path.join(b, b'f')
    st = os.stat(file)
    if what == 'data':
        with open(file, 'r+b') as f:
            f.write(b'atad')
    elif what == 'mode':
        os.chmod(file, 0o4711)
    elif what == 'links':
        os.unlink(os.path.join(b, b'g'))
        os.link(file, os.path.join(b, b'g'))
    elif what == 'sparse':
        with open(file, 'r+b') as f:
            f.seek(4)
            f.write(bytes((1 << 20) - 4))
    elif what == 'extra':
        shutil.copy2(file, file + b'2')
    os.utime(file, ns=(st.st_atime_ns, st.st_mtime_ns + (what == 'nanosecond')))
    os.utime(b, ns=(st.st_atime_ns, os.stat(a).st_mtime_ns))
    assert any(line.startswith(('data', 'mtime', 'mode', 'group', 'sparse', 'extra'))
               for line in clone_trees.differences(a, b))
