# SPDX-License-Identifier: LGPL-2.1-or-later
"""drover-lab on real folders: what goes in comes out, and check finds what is broken.

The programs are those in $DROVER_BUILD, or build/bin of the repository.
"""
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import stat
import subprocess
import time

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('DROVER_BUILD', REPO / 'build' / 'bin'))
ROOT = os.geteuid() == 0
LAYOUTS = ['plain', 'pfl', 'mixed']


def lab(*args, check=0):
    """Runs drover-lab, and asserts its exit code."""
    p = subprocess.run([BUILD / 'drover-lab', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == check, (args, p.returncode, p.stdout[-2000:], p.stderr[-2000:])
    return p


def refused(*args):
    """A usage error: exit 2, one line on stderr that begins with the program's name."""
    p = lab(*args, check=2)
    assert p.stdout == b''
    assert p.stderr.startswith(b'drover-lab: ') and p.stderr.count(b'\n') == 1, p.stderr
    return p.stderr.decode(errors='replace')


def df(path):
    out = lab('df', path, '--json').stdout
    assert out.count(b'\n') == 1
    return json.loads(out)


def used(path):
    return [(o['used_bytes'], o['objects']) for o in df(path)['osts']]


@pytest.fixture
def new(tmp_path):
    """An empty lab of 4 OSTs."""
    lab('create', tmp_path / 'lab', '--osts', '4')
    return tmp_path / 'lab'


def deep_dir(top, depth):
    """A path of far more than 4096 bytes, made by descending."""
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for i in range(depth):
        name = 'deep-%03d-' % i + 'x' * 90
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    out = os.open('at the bottom', os.O_WRONLY | os.O_CREAT, dir_fd=fd)
    os.write(out, b'deep data')
    os.close(out)
    os.close(fd)


def make_tree(top):
    top = os.fsencode(top)
    rng = random.Random(1)
    os.mkdir(top)
    for d in (b'dir', b'dir/sub', b'dir.x', b'empty dir', b'x' * 255):
        os.mkdir(os.path.join(top, d))
    names = [b'plain', b'new\nline', b'quo"te\'s', b'\xff\xfe', b'back\\slash', b'car\rriage', b' ', b'n' * 255,
             b'dir/in', b'dir/sub/in', b'dir.x/in', b'dir-', 'dir/höhe'.encode()]
    names += [b'dir/f%03d' % i for i in range(150)]
    for name in names:
        size = rng.choice([0, 1, 17, 4096, 65536, 65537, 200000, rng.randrange(3 << 20)])
        with open(os.path.join(top, name), 'wb') as f:
            f.write(rng.randbytes(size))
    with open(os.path.join(top, b'sparse'), 'wb') as f:
        f.seek(1 << 20)
        f.write(b'middle')
        f.truncate(40 << 20)
    with open(os.path.join(top, b'hole'), 'wb') as f:
        f.truncate(10 << 20)
    os.link(os.path.join(top, b'plain'), os.path.join(top, b'dir/linked'))
    os.link(os.path.join(top, b'plain'), os.path.join(top, b'dir/sub/linked too'))
    os.symlink(b'dir/in', os.path.join(top, b'link'))
    os.symlink(b'/nowhere/at all', os.path.join(top, b'dir/dangling'))
    os.mkfifo(os.path.join(top, b'fifo'), 0o640)
    os.chmod(os.path.join(top, b'dir/in'), 0o440)
    os.chmod(os.path.join(top, b'dir/sub'), 0o2750)
    try:
        os.setxattr(os.path.join(top, b'plain'), 'user.colour', b'blue\0green')
        os.setxattr(os.path.join(top, b'dir'), 'user.note', b'a folder')
    except OSError:
        pass
    if ROOT:
        os.mknod(os.path.join(top, b'device'), stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.chown(os.path.join(top, b'dir/in'), 1234, 5678)
        os.lchown(os.path.join(top, b'link'), 99, 98)
    for i, (d, dirs, files) in enumerate(os.walk(top, topdown=False)):
        for name in files:
            os.utime(os.path.join(d, name), ns=(10**18 + i, 10**18 + 123456789 * i), follow_symlinks=False)
        os.utime(d, ns=(10**18, 10**18 + 7 * i))
    deep_dir(top, 45)


def facts(top):
    """Everything about a tree, by path relative to top; descends, so that depth does not matter."""
    found = {}

    def visit(fd, path):
        for name in sorted(os.listdir(fd)):
            name = os.fsencode(name)
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
            what = [st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns]
            if stat.S_ISLNK(st.st_mode):
                what.append(os.readlink(name, dir_fd=fd))
            if stat.S_ISREG(st.st_mode):
                what += [st.st_size, st.st_nlink]
            if stat.S_ISCHR(st.st_mode):
                what.append(st.st_rdev)
            if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
                one = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
                what.append({x: os.getxattr(one, x) for x in os.listxattr(one) if x != 'user.lov'})
                if stat.S_ISDIR(st.st_mode):
                    visit(one, path + name + b'/')
                    os.close(one)
                else:
                    with open(one, 'rb') as f:
                        what.append(hashlib.sha256(f.read()).digest())
            found[path + name] = what

    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    visit(fd, b'')
    os.close(fd)
    return found


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    top = tmp_path_factory.mktemp('tree') / 'tree'
    make_tree(top)
    yield top
    subprocess.run(['rm', '-rf', top], check=True)


def same(a, b):
    # What diff cannot compare, facts() does.
    subprocess.run(['diff', '-r', '--no-dereference', '-x', 'deep-*', '-x', 'fifo', '-x', 'device', a, b], check=True)
    assert facts(a) == facts(b)


def objects_of(path):
    return sorted(p for ost in path.glob('OST*') for p in ost.rglob('*') if p.is_file())


# ---- round trips ----

@pytest.mark.parametrize('layout', LAYOUTS)
def test_export__gives_back_what_import_took(new, tree, tmp_path, layout):
    lab('import', new, tree, '--layout', layout, '--seed', '3')
    lab('check', new)
    lab('export', new, tmp_path / 'out')
    same(tree, tmp_path / 'out')
    if layout == 'plain':
        st = os.stat(tmp_path / 'out' / 'sparse')
        assert st.st_blocks * 512 < 4 << 20, 'the holes stay'


@pytest.mark.parametrize('options', [
    ['--stripe-count', '-1', '--stripe-size', '64K'],
    ['--stripe-count', '3', '--stripe-size', '128K'],
    ['--stripe-count', '9', '--stripe-size', '64K'],
    ['--stripe-count', '2000', '--stripe-size', '64K'],
    ['--layout', 'pfl', '--stripe-count', '7'],
    ['--layout', 'mixed', '--stripe-size', '64K', '--stripe-count', '2'],
])
def test_import__stripes_as_told(new, tmp_path, options):
    small = tmp_path / 'small'
    small.mkdir()
    for i in range(5):
        (small / f'f{i}').write_bytes(random.Random(i).randbytes(i * 300000))
    lab('import', new, small, *options)
    lab('check', new)
    lab('export', new, tmp_path / 'out')
    same(small, tmp_path / 'out')
    if options[1] == '9':
        assert df(new)['total']['objects'] == 45, 'more stripes than OSTs are overstriped'
    if options[1] == '2000':
        assert len(list((new / 'layouts').iterdir())) == 5, 'such layouts are too large for an xattr'


def test_stub__holds_the_size_and_no_data(new, tmp_path):
    (tmp_path / 't').mkdir()
    (tmp_path / 't' / 'f').write_bytes(b'z' * 1000000)
    lab('import', new, tmp_path / 't')
    st = os.stat(new / 'ns' / 'f')
    assert st.st_size == 1000000 and st.st_blocks * 512 <= 4096
    assert os.getxattr(new / 'ns' / 'f', 'user.lov')[:4] == bytes.fromhex('d00bd10b')
    assert [p.stat().st_size for p in objects_of(new)] == [1000000]


def test_import__gives_an_empty_file_its_object(new, tmp_path):
    (tmp_path / 't').mkdir()
    (tmp_path / 't' / 'f').write_bytes(b'')
    lab('import', new, tmp_path / 't')
    assert df(new)['total']['objects'] == 1


def test_import__mixed_makes_all_kinds(new, tree):
    lab('import', new, tree, '--layout', 'mixed', '--seed', '1')
    magics, patterns, flags, counts = set(), set(), set(), set()
    for p in (new / 'ns' / 'dir').iterdir():
        if not p.is_file() or p.is_symlink():
            continue
        v = os.getxattr(p, 'user.lov')
        word = lambda at, n=4: int.from_bytes(v[at:at + n], 'little')
        magics.add(word(0))
        if word(0) in (0x0BD10BD0, 0x0BD30BD0):
            patterns.add(word(4))
            counts.add(word(28, 2))
        else:
            flags.add((word(12, 2), word(14, 2), word(16, 2)))
            patterns.add(word(word(32 + 24) + 4))
    assert {0x0BD10BD0, 0x0BD30BD0, 0x0BD60BD0} <= magics
    assert {0x1, 0x100, 0x201} <= patterns
    assert {1, 2} <= counts
    assert {f[1] for f in flags} >= {1, 2, 3}
    assert any(f[2] == 1 for f in flags), 'mirrored'


@pytest.mark.parametrize('layout', ['plain', 'mixed'])
def test_import__same_seed_same_lab(tmp_path, tree, layout):
    for name in ('a', 'b'):
        lab('create', tmp_path / name, '--osts', '5')
        lab('import', tmp_path / name, tree, '--layout', layout, '--seed', '7')
    a, b = (used(tmp_path / n) for n in ('a', 'b'))
    assert a == b


def test_fill__is_reproducible_and_has_the_sizes(tmp_path):
    sums = []
    for name, seed in (('a', '5'), ('b', '5'), ('c', '6')):
        lab('create', tmp_path / name, '--osts', '3')
        lab('fill', tmp_path / name, '--files', '600', '--size', '1K-9K', '--dirs', '3', '--seed', seed)
        lab('check', tmp_path / name)
        sums.append(lab('digest', tmp_path / name).stdout)
    assert sums[0] == sums[1] != sums[2]
    sizes = [p.stat().st_size for p in (tmp_path / 'a' / 'ns').rglob('f*')]
    assert len(sizes) == 600 and min(sizes) >= 1024 and max(sizes) <= 9216 and len(set(sizes)) > 300
    assert sorted(p.name for p in (tmp_path / 'a' / 'ns').iterdir()) == ['d0000', 'd0001', 'd0002']
    assert (tmp_path / 'a' / 'ns' / 'd0000' / 'f0000000').exists()
    assert used(tmp_path / 'a') == used(tmp_path / 'b')


def test_fill__again_adds_directories(new):
    lab('fill', new, '--files', '20', '--size', '4K', '--dirs', '2')
    lab('fill', new, '--files', '2', '--size', '70M')
    lab('check', new)
    assert sorted(p.name for p in (new / 'ns').iterdir()) == ['d0000', 'd0001', 'd0002']
    assert df(new)['total']['objects'] == 22


def test_digest__is_what_sha256sum_prints(new, tree, tmp_path):
    lab('import', new, tree, '--layout', 'mixed')
    lab('export', new, tmp_path / 'out')
    found = lab('digest', new).stdout
    paths = sorted(p for p, what in facts(tmp_path / 'out').items() if stat.S_ISREG(what[0]))
    assert found.count(b'\n') == len(paths)
    short = [p for p in paths if len(p) < 4000]
    expected = subprocess.run([b'sha256sum', b'--', *short], cwd=tmp_path / 'out', check=True,
                              stdout=subprocess.PIPE).stdout
    lines = [line for line in found.splitlines() if len(line) < 4000]
    assert lines == expected.splitlines()


# ---- df, set, placing ----

def test_df__tells_space_and_state(tmp_path):
    lab('create', tmp_path / 'lab', '--osts', '3', '--ost-size', '10M')
    lab('fill', tmp_path / 'lab', '--files', '3', '--size', '4K')
    lab('set', tmp_path / 'lab', '--ost', '1', '--state', 'closed')
    d = df(tmp_path / 'lab')
    assert [o['index'] for o in d['osts']] == [0, 1, 2]
    assert d['osts'][1]['name'] == 'lab-OST0001' and d['osts'][1]['state'] == 'closed'
    assert d['osts'][0] == {'index': 0, 'name': 'lab-OST0000', 'state': 'up', 'total_bytes': 10 << 20,
                            'used_bytes': 4096, 'avail_bytes': (10 << 20) - 4096, 'objects': 1}
    assert d['total'] == {'total_bytes': 30 << 20, 'used_bytes': 3 * 4096,
                          'avail_bytes': (30 << 20) - 3 * 4096, 'objects': 3}
    text = lab('df', tmp_path / 'lab').stdout.decode()
    assert 'lab-OST0001_UUID' in text and 'closed' in text and 'filesystem_summary:' in text


@pytest.mark.parametrize('state', ['down', 'full', 'closed'])
def test_import__leaves_out_osts_that_are_not_up(new, tree, state):
    lab('set', new, '--ost', '1-2', '--state', state)
    lab('import', new, tree, '--layout', 'mixed')
    objects = [o['objects'] for o in df(new)['osts']]
    assert objects[1] == objects[2] == 0 < min(objects[0], objects[3])
    lab('set', new, '--ost', '0-3', '--state', 'up')
    lab('check', new)


def test_import__says_when_no_ost_takes_files(new, tmp_path):
    (tmp_path / 't').mkdir()
    (tmp_path / 't' / 'f').write_bytes(b'x')
    lab('set', new, '--ost', '0-3', '--state', 'closed')
    p = lab('import', new, tmp_path / 't', check=1)
    assert b"'f'" in p.stderr and b'no OST' in p.stderr
    assert list((new / 'ns').iterdir()) == []


def test_import__goes_on_where_space_is_left(tmp_path):
    lab('create', tmp_path / 'lab', '--osts', '3', '--ost-size', '1M')
    (tmp_path / 't').mkdir()
    for i, size in enumerate([900, 100, 100, 200, 600, 600]):
        (tmp_path / 't' / f'f{i}').write_bytes(b'x' * size * 1024)
    lab('import', tmp_path / 'lab', tmp_path / 't')
    lab('check', tmp_path / 'lab')


def test_import__names_the_file_that_does_not_fit(tmp_path):
    lab('create', tmp_path / 'lab', '--osts', '2', '--ost-size', '1M')
    (tmp_path / 't').mkdir()
    (tmp_path / 't' / 'small').write_bytes(b'x' * 5000)
    (tmp_path / 't' / 'too large').write_bytes(b'x' * (3 << 20))
    p = lab('import', tmp_path / 'lab', tmp_path / 't', check=1)
    assert b"'too large'" in p.stderr and b'no space left' in p.stderr and p.stderr.count(b'\n') == 1
    lab('check', tmp_path / 'lab')
    assert df(tmp_path / 'lab')['total']['objects'] == 1, 'what did not fit left nothing behind'
    p = lab('fill', tmp_path / 'lab', '--files', '2000', '--size', '4K', check=1)
    assert b"'d000" in p.stderr and b'no space left' in p.stderr
    lab('check', tmp_path / 'lab')


def test_digest__reports_files_on_an_ost_that_is_down(new, tmp_path):
    lab('fill', new, '--files', '8', '--size', '4K')
    lab('set', new, '--ost', '2', '--state', 'down')
    p = lab('digest', new, check=1)
    assert p.stdout.count(b'\n') == 6 and p.stderr.count(b"cannot read 'd0000/f000000") == 2
    p = lab('export', new, tmp_path / 'out', check=1)
    assert len(list((tmp_path / 'out' / 'd0000').iterdir())) == 6
    lab('set', new, '--ost', '2', '--state', 'slow', '--latency-ms', '30')
    start = time.monotonic()
    lab('digest', new)
    assert time.monotonic() - start > 0.03


# ---- release ----

@pytest.mark.parametrize('layout', LAYOUTS)
def test_release__keeps_the_data_and_frees_the_objects(new, tree, tmp_path, layout):
    lab('import', new, tree, '--layout', layout)
    before = lab('digest', new).stdout
    lab('release', new, 'plain', 'sparse', 'dir/sub/in', new / 'ns' / 'dir' / 'f001', new / 'ns' / 'dir' / 'f002')
    assert len(list((new / 'archive').iterdir())) == 5
    assert lab('digest', new).stdout == before
    assert b'5 of them released' in lab('check', new).stdout
    lab('export', new, tmp_path / 'out')
    same(tree, tmp_path / 'out')


def test_release__refuses_what_it_cannot_release(new, tree):
    lab('import', new, tree)
    before = used(new)
    assert 'no such file' in refused('release', new, 'plain', 'nothing').lower()
    refused('release', new, 'dir')
    refused('release', new, 'link')
    refused('release', new, tree / 'plain')
    refused('release', new, '../lab.json')
    assert used(new) == before


# ---- check ----

def test_check__frees_objects_of_removed_files(new, tmp_path):
    lab('fill', new, '--files', '10', '--size', '4K')
    (tmp_path / 't').mkdir()
    (tmp_path / 't' / 'wide').write_bytes(b'x' * 100)
    lab('import', new, tmp_path / 't', '--stripe-count', '500')
    lab('release', new, 'd0000/f0000001')
    for name in ('d0000/f0000001', 'd0000/f0000002', 'd0000/f0000003', 'wide'):
        os.unlink(new / 'ns' / name)
    p = lab('check', new)
    assert b'502 objects of removed files were freed' in p.stderr
    assert b'2 layouts and archived data' in p.stderr
    assert p.stdout.count(b'\n') == 1
    assert lab('check', new).stderr == b''
    assert df(new)['total']['objects'] == 7 == len(objects_of(new))


def break_and_check(path, *words):
    p = lab('check', path, check=1)
    lines = p.stdout.splitlines()
    assert lines and all(line.startswith(b'fault: ') for line in lines)
    for word in words:
        assert any(word in line for line in lines), (word, lines)
    return lines


@pytest.fixture
def four(new):
    lab('fill', new, '--files', '4', '--size', '8K')
    return new


def test_check__finds_a_missing_object(four):
    objects_of(four)[0].unlink()
    break_and_check(four, b'is missing', b'are accounted for')


def test_check__finds_an_object_of_nobody(four):
    first = objects_of(four)[0]
    seq, rest = first.name.split('.', 1)
    oid, owner = rest.split(':', 1)
    other = '%x' % (int(oid, 16) + 32)
    shutil.copy(first, first.parent / f'{seq}.{other}:{owner}')
    break_and_check(four, b'does not name it')


def test_check__finds_an_object_that_two_files_name(four):
    a, b = (four / 'ns' / 'd0000' / f'f000000{i}' for i in (0, 1))
    layout = bytearray(os.getxattr(b, 'user.lov'))
    layout[32:] = os.getxattr(a, 'user.lov')[32:]
    os.setxattr(b, 'user.lov', layout)
    break_and_check(four, b'is named by', b'does not name it')


def test_check__finds_an_object_that_is_too_long(four):
    first = objects_of(four)[0]
    with open(first, 'ab') as f:
        f.write(b'x' * 5000)
    break_and_check(four, b'holds 13192 bytes', b'bytes are accounted for')


def test_check__finds_foreign_files_among_the_objects(four):
    (four / 'OST0002' / 'd05').mkdir(exist_ok=True)
    (four / 'OST0002' / 'd05' / 'what').write_bytes(b'')
    (four / 'OST0003' / 'else').write_bytes(b'')
    break_and_check(four, b'OST0002/d05/what', b'else')


def test_check__finds_a_damaged_layout(four):
    os.setxattr(four / 'ns' / 'd0000' / 'f0000000', 'user.lov', b'not a layout at all')
    break_and_check(four, b'layout cannot be read')


def test_check__finds_an_ost_that_does_not_exist(four):
    path = four / 'ns' / 'd0000' / 'f0000000'
    layout = bytearray(os.getxattr(path, 'user.lov'))
    layout[52:56] = (77).to_bytes(4, 'little')
    os.setxattr(path, 'user.lov', layout)
    break_and_check(four, b'OST 77')


def test_check__finds_lost_archive_data(four):
    lab('release', four, 'd0000/f0000000')
    for p in (four / 'archive').iterdir():
        p.unlink()
    break_and_check(four, b'archived data cannot be read')


def test_check__is_content_with_foreign_writes(four, tmp_path):
    d = four / 'ns' / 'd0000'
    (d / 'foreign').write_bytes(b'own bytes')
    subprocess.run(['cp', '-a', d / 'f0000000', d / 'copy'], check=True)
    with open(d / 'f0000001', 'ab') as f:
        f.write(b'more')
    os.truncate(d / 'f0000002', 100)
    p = lab('check', four)
    assert b'no layout' in p.stderr and b'copied from' in p.stderr and b'cut from outside' in p.stderr
    lab('export', four, tmp_path / 'out')
    out = tmp_path / 'out' / 'd0000'
    assert (out / 'foreign').read_bytes() == b'own bytes'
    assert (out / 'f0000001').stat().st_size == 8196 and (out / 'f0000001').read_bytes()[-4:] == bytes(4)
    assert (out / 'f0000002').stat().st_size == 100
    assert (out / 'copy').read_bytes() == bytes(8192)


# ---- killed in the middle ----

@pytest.mark.parametrize('point', ['slot', 'created', 'charged', 'swap-before', 'swap-after', 'unlinked'])
def test_import__killed_at_any_point_leaves_a_sound_lab(new, tree, point):
    env = dict(os.environ, DROVER_LAB_FAULT=point)
    p = subprocess.run([BUILD / 'drover-lab', 'import', new, tree, '--layout', 'mixed'], env=env,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert p.returncode in (-signal.SIGKILL, 0)
    lab('check', new)
    assert df(new)['total']['objects'] == len(objects_of(new))
    assert list((new / 'journal').iterdir()) == []


def test_fill__killed_at_any_time_leaves_a_sound_lab(new):
    rng = random.Random(4)
    for _ in range(8):
        p = subprocess.Popen([BUILD / 'drover-lab', 'fill', new, '--files', '20000', '--size', '4K-40K'],
                             stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.05, 0.3))
        p.kill()
        p.wait()
        lab('check', new)
        assert df(new)['total']['objects'] == len(objects_of(new))


def test_import__again_after_a_kill_says_what_to_do(new, tree):
    lab('import', new, tree)
    before = used(new)
    p = lab('import', new, tree, check=1)
    assert b'exists in the name space already' in p.stderr and b'rm -r' in p.stderr
    assert used(new) == before
    subprocess.run(f'rm -rf {new}/ns/*', shell=True, check=True)
    lab('check', new)
    lab('import', new, tree)
    lab('check', new)
    assert used(new) == before


# ---- pools ----

def layouts(path):
    return [os.getxattr(p, 'user.lov') for p in sorted((path / 'ns').rglob('*')) if p.is_file()]


def test_pool__is_made_changed_and_removed(new):
    lab('pool', new, 'fast', '0,2-3')
    file = new / 'pools' / 'fast'
    assert file.read_text() == '0,2-3\n'
    lab('pool', new, 'fast', '1')
    assert file.read_text() == '1\n'
    lab('pool', new, 'fifteen-letters', '0')
    lab('pool', new, 'fast', '--remove')
    assert not file.exists()
    lab('check', new)


@pytest.mark.parametrize('text', ['1-2\n', '1\n2\n', '1\n2', ' 2 , 1 \n\n'])
def test_pool__may_be_written_by_hand(new, text):
    (new / 'pools').mkdir()
    (new / 'pools' / 'mine').write_text(text)
    lab('fill', new, '--files', '20', '--size', '4K', '--pool', 'mine')
    assert [o['objects'] for o in df(new)['osts']] == [0, 10, 10, 0]
    assert all(b'mine\0' in layout for layout in layouts(new))
    lab('check', new)


def test_pool__of_garbage_is_refused(new):
    (new / 'pools').mkdir()
    (new / 'pools' / 'mine').write_text('1 2\n')
    refused('fill', new, '--files', '20', '--size', '4K', '--pool', 'mine')


@pytest.mark.parametrize('layout', LAYOUTS)
def test_import__into_a_pool(new, tree, tmp_path, layout):
    lab('pool', new, 'two', '1,3')
    lab('import', new, tree, '--layout', layout, '--pool', 'two', '--seed', '5')
    objects = [o['objects'] for o in df(new)['osts']]
    assert objects[0] == objects[2] == 0 and objects[1] and objects[3]
    lab('check', new)
    lab('export', new, tmp_path / 'out')
    same(tree, tmp_path / 'out')


# ---- bad arguments ----

@pytest.mark.parametrize('args', [
    ['nonsense'],
    ['create'],
    ['create', 'new'],
    ['create', 'new', '--osts', '0'],
    ['create', 'new', '--osts', '4097'],
    ['create', 'new', '--osts', '2x'],
    ['create', 'new', '--osts', '2', '--ost-size', 'big'],
    ['create', 'new', '--osts', '2', '--mdts', '0'],
    ['create', 'new', '--osts'],
    ['create', 'new', '--osts', '2', '--what'],
    ['create', 'new', 'other', '--osts', '2'],
    ['create', 'full', '--osts', '2'],
    ['import', 'lab'],
    ['import', 'lab', 'missing'],
    ['import', 'lab', 'full/file'],
    ['import', 'lab', 'full', '--layout', 'round'],
    ['import', 'lab', 'full', '--stripe-size', '1000'],
    ['import', 'lab', 'full', '--stripe-size', '0'],
    ['import', 'lab', 'full', '--stripe-size', '4G'],
    ['import', 'lab', 'full', '--stripe-count', '0'],
    ['import', 'lab', 'full', '--stripe-count', '-2'],
    ['import', 'lab', 'full', '--stripe-count', '2001'],
    ['import', 'full', 'full'],
    ['import', 'lab', '.'],
    ['import', 'lab', 'lab/ns'],
    ['fill', 'lab', '--files', '3'],
    ['fill', 'lab', '--size', '3'],
    ['fill', 'lab', '--files', '3', '--size', '9K-4K'],
    ['fill', 'lab', '--files', '3', '--size', '4K-'],
    ['fill', 'lab', '--files', '-3', '--size', '4K'],
    ['fill', 'lab', '--files', '3', '--size', '4K', '--dirs', '0'],
    ['df'],
    ['df', 'missing'],
    ['df', 'full'],
    ['digest', 'full'],
    ['export', 'lab'],
    ['export', 'lab', 'full'],
    ['export', 'lab', 'lab/ns/out'],
    ['export', 'lab', 'missing/deep/out'],
    ['check', 'missing'],
    ['set', 'lab', '--ost', '0'],
    ['set', 'lab', '--state', 'up'],
    ['set', 'lab', '--ost', '4', '--state', 'up'],
    ['set', 'lab', '--ost', '3-1', '--state', 'up'],
    ['set', 'lab', '--ost', '0', '--state', 'odd'],
    ['set', 'lab', '--ost', '0', '--state', 'up', '--latency-ms', '3'],
    ['set', 'lab', '--ost', '0', '--state', 'slow', '--bandwidth', '0'],
    ['import', 'lab', 'full', '--pool', 'none'],
    ['import', 'lab', 'full', '--pool', '../up'],
    ['import', 'lab', 'full', '--pool'],
    ['fill', 'lab', '--files', '3', '--size', '4K', '--pool', 'none'],
    ['pool', 'lab'],
    ['pool', 'lab', 'fast'],
    ['pool', 'lab', 'fast', '4'],
    ['pool', 'lab', 'fast', '3-1'],
    ['pool', 'lab', 'fast', ''],
    ['pool', 'lab', '', '1'],
    ['pool', 'lab', '.x', '1'],
    ['pool', 'lab', 'a/b', '1'],
    ['pool', 'lab', 'new\nline', '1'],
    ['pool', 'lab', 'sixteen-letters!', '1'],
    ['pool', 'lab', 'sixteen-letters-', '1'],
    ['pool', 'lab', 'fast', '--remove'],
    ['pool', 'lab', 'fast', '1', '--remove'],
    ['pool', 'lab', 'fast', '1', '2'],
    ['pool', 'full', 'fast', '1'],
    ['release', 'lab'],
])
def test_bad_arguments__get_one_line_and_change_nothing(tmp_path, monkeypatch, args):
    monkeypatch.chdir(tmp_path)
    lab('create', 'lab', '--osts', '4')
    os.mkdir('full')
    pathlib.Path('full/file').write_text('x')
    before = sorted(str(p) for p in tmp_path.rglob('*'))
    refused(*args)
    assert sorted(str(p) for p in tmp_path.rglob('*')) == before
    assert df('lab')['total']['objects'] == 0


def test_help__lists_every_command():
    for args in ([], ['--help']):
        out = lab(*args).stdout.decode()
        for name in ('create', 'import', 'fill', 'df', 'digest', 'export', 'check', 'set', 'pool', 'release'):
            assert f'\n  {name} ' in out
            assert 'Usage: drover-lab ' + name in lab(name, '--help').stdout.decode()
    assert lab('--version').stdout.startswith(b'drover-lab ')


@pytest.mark.skipif(not ROOT, reason='becomes another user')
def test_lab__works_without_root(tmp_path, tree):
    own = tmp_path / 'own'
    own.mkdir()
    for p in [tmp_path, *tmp_path.parents]:
        if p.stat().st_mode & 0o5 != 0o5 and p != p.parent and not os.access(p, os.X_OK, effective_ids=False):
            pytest.skip('no way in for another user')
    os.chown(own, 65534, 65534)
    drop = dict(user=65534, group=65534, extra_groups=[])
    run = lambda *args: subprocess.run([BUILD / 'drover-lab', *args], stderr=subprocess.PIPE,
                                       stdout=subprocess.PIPE, cwd='/', **drop)
    modes = {p: p.stat().st_mode for p in [tmp_path, *tmp_path.parents] if p.stat().st_uid == 0 and
             not p.stat().st_mode & 0o1}
    try:
        for p, mode in modes.items():
            os.chmod(p, mode | 0o1)
        assert run('create', own / 'lab', '--osts', '3').returncode == 0
        p = run('fill', own / 'lab', '--files', '300', '--size', '1K-100K')
        assert p.returncode == 0, p.stderr
        os.unlink(own / 'lab' / 'ns' / 'd0000' / 'f0000007')
        p = run('check', own / 'lab')
        assert p.returncode == 0 and b'1 objects of removed files' in p.stderr, (p.stdout, p.stderr)
        assert run('export', own / 'lab', own / 'out').returncode == 0
    finally:
        for p, mode in modes.items():
            os.chmod(p, mode)
