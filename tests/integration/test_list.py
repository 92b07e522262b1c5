# SPDX-License-Identifier: LGPL-2.1-or-later
"""Campaigns from a list of candidates: what is taken, what is refused, what the books say, and what a death in mid-list leaves."""
import errno
import fcntl
import os
import random
import signal
import struct
import subprocess

import pytest

from harness import BUILD, escape, free_port, make_files, processes_below, run, until
from test_evacuate import odd_names
from test_refusals import refused

FS_IOC_GETVERSION = 0x80087601


def fid_of(path):
    """A lab's FID: inode and generation."""
    fd = os.open(path, os.O_RDONLY)
    try:
        ino = os.fstat(fd).st_ino
        try:
            version, = struct.unpack('I', fcntl.ioctl(fd, FS_IOC_GETVERSION, bytes(8))[:4])
        except OSError as e:
            assert e.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL)
            version = 0
    finally:
        os.close(fd)
    return b'0x%x:0x%x:0x%x' % (0x200000400 + (ino >> 32), ino & 0xffffffff, version)


def absolute(site, paths):
    return [os.path.join(os.fsencode(site.ns), p) for p in paths]


def write_list(site, entries, end=b'\n', name='list'):
    path = site.dir / name
    path.write_bytes(b''.join(e + end for e in entries))
    return path


def start(site, file, *more, name='evac', osts='0', check=0, **kw):
    return site.drover('start', '--name', name, '--osts', osts, '--from-list', file, *more, check=check, **kw)


def candidates(site, name='evac'):
    return (site.base / name / 'candidates').read_bytes().split(b'\0')[:-1]


def over(site, code=0, name='evac'):
    """The status when the campaign is over, with the identity checked by it."""
    assert site.wait(name) == code, site.status(name)
    site.ended()
    return site.status(name)


def filled(site, files=60, osts=4, on=(0,)):
    site.make(osts)
    site.tree.mkdir()
    make_files(site.tree, files, sizes=(1, 9000), dirs=4)
    site.only_on(list(on), osts, lambda: site.lab('import', site.tree))
    return sorted(site.names_on(*on))


def test_names_of_any_bytes_in_a_list_with_nuls(site):
    odd_names(site.tree)
    site.make(4)
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    paths = sorted(site.names_on(0))
    assert any(b'\n' in p for p in paths) and any(b'\xff' in p for p in paths)
    digest = site.digest()
    # The last one without an end counts too.
    file = site.dir / 'list'
    file.write_bytes(b'\0'.join(absolute(site, paths)))
    start(site, file, '-0')
    assert candidates(site) == [b'/' + p for p in paths]
    assert site.status()['list'] == {'candidates': len(paths), 'looked_at': 0, 'on_sources': 0, 'gone': 0, 'excluded': 0,
                                     'below_paths': 0}
    site.daemon()
    status = site.assert_moved(osts=(0,))
    assert status['progress']['succeeded'] == status['progress']['discovered'] == len(paths)
    assert status['list']['looked_at'] == status['list']['on_sources'] == len(paths)
    assert status['paths'] == []
    assert site.digest() == digest
    assert sorted(site.audit_paths()) == sorted(escape(p) for p in paths)
    report = site.drover('report', 'evac').out
    assert f'List: {len(paths)} of {len(paths)} candidates were on the OSTs' in report
    assert 'ready to remove  yes: no object is left' in report
    assert f'{len(paths)} / {len(paths)} candidates looked at' in site.drover('status', 'evac').out


def test_a_list_speaks_for_its_files_only(site):
    paths = filled(site)
    digest = site.digest()
    listed = paths[::3]
    start(site, write_list(site, absolute(site, listed)))
    site.daemon()
    status = over(site)
    assert status['state'] == 'completed'
    assert status['progress']['succeeded'] == status['progress']['discovered'] == len(listed)
    assert sorted(site.names_on(0)) == sorted(set(paths) - set(listed))
    ost, = site.report()['osts']
    assert not ost['ready_to_remove'] and ost['objects'] == len(paths) - len(listed) and 'not in its list' in ost['why']
    assert site.digest() == digest
    site.check()


@pytest.mark.parametrize('how', ['root', 'scan-path', 'path'])
def test_fids(site, how):
    """In both forms, of files that were renamed since, from the standard input; and a FID of a file that is not there."""
    paths = filled(site)
    fids = [fid_of(p) for p in absolute(site, paths)]
    os.rename(absolute(site, paths)[0], os.path.join(os.fsencode(site.ns), b'moved\n\xff'))
    entries = [b'[%s]' % f if i % 2 else f.upper().replace(b'0X', b'0x') for i, f in enumerate(fids)]
    entries.append(b'0x200000401:0xfffffff0:0x0')
    (site.ns / 'empty').mkdir()
    more = {'root': ['--root', site.ns], 'scan-path': ['--scan-path', site.ns / 'empty'], 'path': []}[how]
    if how == 'path':
        entries.append(os.fsencode(site.ns) + b'/nothing')
    digest = site.digest()
    start(site, '-', *more, data=b'\n'.join(entries) + b'\n')
    assert candidates(site)[:len(fids)] == [b'[%s]' % f for f in fids]
    site.daemon()
    status = site.assert_moved(osts=(0,))
    assert status['progress']['succeeded'] == len(paths)
    assert status['list'] == {'candidates': len(entries), 'looked_at': len(entries), 'on_sources': len(paths),
                              'gone': len(entries) - len(paths), 'excluded': 0, 'below_paths': 0}
    assert 'moved\\n\\xff' in site.audit_paths()
    assert site.digest() == digest


def test_a_list_beside_scan_paths(site):
    """Both are scanned; what the list names below a scan path is found once."""
    paths = filled(site)
    below = [p for p in paths if p.startswith(b'dir000/')]
    listed = below + [p for p in paths if p.startswith((b'dir001/', b'dir002/sub0/'))]
    assert 0 < len(below) < len(listed) < len(paths)
    digest = site.digest()
    start(site, write_list(site, absolute(site, listed)), '--scan-path', site.ns / 'dir000')
    site.daemon()
    status = over(site)
    assert status['progress']['succeeded'] == status['progress']['discovered'] == len(listed)
    assert status['list']['below_paths'] == len(below)
    assert status['list']['on_sources'] == len(listed) - len(below)
    assert sorted(site.names_on(0)) == sorted(set(paths) - set(listed))
    assert site.digest() == digest


def test_what_is_no_file_on_the_sources(site):
    """Gone, excluded, elsewhere, a link: counted. A directory, or a way through a link: told, and the state says so."""
    paths = filled(site)
    kept = [p for p in paths if b'/sub1/' in p or p.startswith(b'dir003/')]
    gone = absolute(site, paths)[0]
    assert not set(kept) & {paths[0]}
    os.unlink(gone)
    (site.ns / 'link').symlink_to('dir001')
    (site.ns / 'on-three').mkdir()
    site.only_on([3], 4, lambda: run('drover-lab', 'fill', site.lab_dir, '--files', 5, '--size', '1-8K'))
    others = sorted(set(site.names_on(3)))
    assert len(others) == 5
    entries = absolute(site, paths + others) + absolute(site, [b'dir000/none', b'no/such', paths[1] + b'/below', b'n' * 300,
                                                              b'link', b'dir001', b'link/sub0', b'dir001/'])
    digest = site.digest()
    start(site, write_list(site, entries), '--exclude-path', 'sub1', '--exclude-path', site.ns / 'dir003')
    site.daemon()
    status = over(site, code=3)
    assert status['state'] == 'completed_with_leftovers'
    moved = len(paths) - len(kept) - 1
    assert status['progress']['succeeded'] == status['progress']['discovered'] == moved
    assert sorted(site.names_on(0)) == sorted(kept)
    assert status['list'] == {'candidates': len(entries), 'looked_at': len(entries), 'on_sources': moved, 'gone': 5,
                              'excluded': len(kept), 'below_paths': 0}
    assert sorted(status['scan']['error_list']) == ['dir001: EISDIR', 'dir001: EISDIR', 'link/sub0: ELOOP']
    assert status['scan']['errors'] == 3
    assert status['scan']['entries'] == 2 * len(entries)  # the scan and the one that proves it
    text = site.drover('report', 'evac').out
    assert 'Could not be looked at: 3\n' in text and '  link/sub0: ELOOP\n' in text
    assert f'List: {moved} of {len(entries)} candidates were on the OSTs, 5 are gone, {len(kept)} are excluded' in text
    report = site.report()
    assert report['scan_errors_total'] == 3 and len(report['scan_errors']) == 3
    assert site.digest() == digest


def test_a_file_that_is_listed_twice_is_moved_once(site):
    paths = filled(site, files=40)
    digest = site.digest()
    twice = absolute(site, paths) + [fid_of(p) for p in absolute(site, paths)]
    start(site, write_list(site, twice))
    site.daemon()
    status = site.assert_moved(osts=(0,))
    progress = status['progress']
    assert progress['succeeded'] == len(paths) and progress['succeeded'] + progress['unneeded'] == progress['discovered']
    assert sorted(site.audit_paths()) == sorted(escape(p) for p in paths)
    assert site.digest() == digest


def test_paths_that_lead_to_the_file_system_by_a_link(site):
    """Links above the root are followed, as the shell that made the list did; the form is that of scans."""
    paths = filled(site, files=12)
    (site.dir / 'mnt').symlink_to(site.ns)
    (site.dir / 'deep').symlink_to(site.ns / 'dir001')
    top = os.fsencode(site.dir)
    entries = [top + b'/mnt//' + p.replace(b'/', b'/./') for p in paths if not p.startswith(b'dir001/')]
    entries += [top + b'/deep/' + p[len(b'dir001/'):] for p in paths if p.startswith(b'dir001/')]
    random.Random(3).shuffle(entries)
    start(site, write_list(site, entries))
    assert sorted(candidates(site)) == sorted(b'/' + p for p in paths)
    site.daemon()
    site.assert_moved(osts=(0,))


def slow_list(site, files=600):
    """A campaign whose list is long, and whose scan cannot run ahead of the moves."""
    site.configure(max_pending_migrations=20, scan_batch_size=10, claim_timeout=5)
    site.make(4)
    site.tree.mkdir()
    make_files(site.tree, files, sizes=(1, 3000), dirs=5)
    site.only_on([0], 4, lambda: site.lab('import', site.tree))
    paths = sorted(site.names_on(0))
    random.Random(1).shuffle(paths)
    entries = [fid_of(p) if i % 5 == 0 else p for i, p in enumerate(absolute(site, paths))]
    start(site, write_list(site, entries))
    return paths


def test_daemons_that_are_killed_in_mid_list(site):
    """Each file is found and moved once, whatever was killed, and nothing is left out."""
    paths = slow_list(site)
    digest = site.digest()
    site.set('1-3', 'slow', latency_ms=3)
    sampler = site.sampler()
    killed = 0
    for at in (100, 220, 330, 450):
        daemon = site.daemon()
        until(f'{at} candidates', lambda at=at: site.status()['list']['looked_at'] >= at)
        assert site.status()['list']['looked_at'] < len(paths)
        daemon.kill()
        killed += 1
    site.set('1-3', 'up')
    for _ in range(2):
        site.daemon()
    status = site.assert_moved(osts=(0,))
    sampler.stop()
    assert killed == 4 and status['epoch'] >= 5
    assert status['progress']['succeeded'] == status['progress']['discovered'] == len(paths)
    assert status['list']['looked_at'] == status['list']['on_sources'] == len(paths)
    assert site.digest() == digest
    # A file may be logged again by the worker that repeats what a killed one did; none is missing.
    assert set(site.audit_paths()) == {escape(p) for p in paths}


def test_scanners_share_a_long_list(site):
    """Ranges of a list go to whoever has nothing to do; together they are all of it, once."""
    site.configure(scan_workers=4)
    site.make(4)
    site.lab('fill', '--files', 1500, '--size', '0-100')
    paths = sorted(site.names_on(0))
    nothing = [os.fsencode(site.ns) + b'/%06d' % i + b'/n' * 60 for i in range(20000)]
    entries = absolute(site, paths) + nothing
    random.Random(2).shuffle(entries)
    start(site, write_list(site, entries))
    sampler = site.sampler()
    for _ in range(2):
        site.daemon()
    status = site.assert_moved(osts=(0,))
    sampler.stop()
    assert status['list'] == {'candidates': len(entries), 'looked_at': len(entries), 'on_sources': len(paths),
                              'gone': len(nothing), 'excluded': 0, 'below_paths': 0}
    assert status['progress']['succeeded'] == status['progress']['discovered'] == len(paths)
    assert status['scan']['entries'] == 2 * len(entries)


def test_a_dry_run_of_a_list(site):
    paths = filled(site)
    objects = site.objects(0, 1, 2, 3)
    start(site, write_list(site, absolute(site, paths)), '--dry-run')
    site.daemon()
    status = over(site)
    assert status['state'] == 'dry_run_completed' and status['progress']['succeeded'] == len(paths)
    assert status['list']['on_sources'] == len(paths)
    assert site.objects(0, 1, 2, 3) == objects


def test_reprime_begins_with_the_list_again(site):
    paths = slow_list(site, files=200)
    site.set('1-3', 'slow', latency_ms=3)
    daemon = site.daemon()
    until('some candidates', lambda: site.status()['list']['looked_at'] >= 60)
    site.drover('reprime', 'evac', '--yes')
    assert site.status()['list']['looked_at'] < len(paths)
    site.set('1-3', 'up')
    status = site.assert_moved(osts=(0,))
    assert not daemon.alive()
    assert status['list']['looked_at'] == len(paths)
    progress = status['progress']
    # What a mover had in hand may have been moved without a word to the new books.
    assert progress['succeeded'] + progress['unneeded'] == progress['discovered'] == status['list']['on_sources'] <= len(paths)
    site.drover('delete', 'evac', '--yes')
    assert not (site.base / 'evac').exists()


def test_a_list_that_is_lost_is_no_empty_one(site):
    paths = filled(site)
    start(site, write_list(site, absolute(site, paths)))
    with open(site.base / 'evac' / 'candidates', 'r+b') as f:
        f.truncate(100)
    site.daemon()
    status = over(site, code=3)
    assert status['state'] == 'completed_with_leftovers' and status['progress']['discovered'] == 0
    assert status['scan']['error_list'] == ['candidates: EBADMSG']
    assert not site.report()['osts'][0]['ready_to_remove']


# --- what is refused ------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def listed(tmp_path_factory):
    from conftest import end_site, make_site
    site, waste = make_site(tmp_path_factory.mktemp('listed'))
    site.make(4)
    site.lab('fill', '--files', 20, '--size', '1-8K')
    yield site
    end_site(site, waste, False)


def list_refused(site, data, *words, more=(), osts='0', listed_as='-', **kw):
    return refused(site, 'start', '--name', 'evac', '--osts', osts, '--from-list', listed_as, *more, words=words, data=data, **kw)


@pytest.mark.parametrize('bad, words', [
    (b'relative/path', ['line 3', 'relative/path', 'neither']),
    (b'', ['line 3', 'neither']),
    (b'0x1:0x2', ['line 3', '0x1:0x2', 'neither']),
    (b'[0x1:0x2:0x3', ['line 3', 'neither']),
    (b'/usr/bin/env', ['line 3', '/usr/bin/env', 'not on the file system']),
    (b'/proc/self/none', ['line 3', 'not on the file system']),
    (b'NS', ['line 3', 'root']),
    (b'NS/.', ['line 3', 'root']),
    (b'NSx/a', ['line 3', 'not on the file system']),
    (b'NS/a/../b', ['line 3', r'\.\.']),
    (b'NS/' + b'a' * 70000, ['line 3', 'longer']),
    (b'NS/a\0NS/b', ['line 3', '-0']),
    (b'NS\xff\x01', ['line 3', r'\\xff\\x01']),
])
def test_a_bad_line(listed, bad, words):
    ns = os.fsencode(listed.ns)
    good = ns + b'/a'
    for data in (b'\n'.join([good, good, bad.replace(b'NS', ns), good]), b'\n'.join([good, good, bad.replace(b'NS', ns), b''])):
        list_refused(listed, data, 'standard input', *words)


def test_a_bad_entry_of_a_list_with_nuls(listed):
    ns = os.fsencode(listed.ns)
    list_refused(listed, ns + b'/a\n\0' + b'x\0', 'entry 2', 'neither', more=['-0'])
    list_refused(listed, ns + b'/a\0\0', 'entry 2', more=['-0'])
    # A list with lines, read as one with NULs, is one path that does not fit.
    list_refused(listed, (ns + b'/a\n') * 5000, 'entry 1', more=['-0'])


def test_a_bad_line_after_a_million_good_ones(listed):
    """What was written by then is taken back."""
    data = (os.fsencode(listed.ns) + b'/some/where\n') * 300000 + b'bad\n'
    list_refused(listed, data, 'line 300001', 'bad')


def test_an_empty_list(listed):
    list_refused(listed, b'', 'empty')
    list_refused(listed, b'', 'empty', more=['--scan-path', listed.ns])
    list_refused(listed, b'', 'empty', more=['-0'])
    list_refused(listed, b'', '/dev/null', 'empty', listed_as='/dev/null')


def test_a_list_that_cannot_be_read(listed):
    list_refused(listed, b'', 'nowhere', listed_as=listed.dir / 'nowhere')
    list_refused(listed, b'', 'cannot read', listed_as=listed.dir)


def test_a_list_that_does_not_tell_its_file_system(listed):
    fid = b'0x200000401:0x5:0x0\n'
    list_refused(listed, fid, '--root', '--scan-path')
    list_refused(listed, fid, '--root', 'nowhere', more=['--root', listed.dir / 'nowhere'])
    list_refused(listed, fid, '--root', '/usr', more=['--root', '/usr'])
    list_refused(listed, b'/usr/bin/env\n', 'line 1', '/usr/bin/env', 'not on Lustre or a lab')
    list_refused(listed, fid + os.fsencode(listed.dir) + b'/x\n', 'line 2')


def test_words_that_do_not_go_together(listed):
    refused(listed, 'start', '--name', 'a', '--osts', '0', '--scan-path', listed.ns, '-0', words=['-0', '--from-list'])
    refused(listed, 'start', '--name', 'a', '--osts', '0', '--scan-path', listed.ns, '--root', listed.ns,
            words=['--root', '--from-list'])
    list_refused(listed, os.fsencode(listed.ns) + b'/a\n', 'one --from-list', more=['--from-list', '/dev/null'])
    list_refused(listed, os.fsencode(listed.ns) + b'/a\n', '--osts', osts='7')
    list_refused(listed, os.fsencode(listed.ns) + b'/a\n', '--exclude-path', more=['--exclude-path', '/usr'])


def test_two_file_systems(listed):
    run('drover-lab', 'create', listed.dir / 'lab2', '--osts', 4)
    second = os.fsencode(listed.dir) + b'/lab2/ns'
    line = os.fsencode(listed.ns) + b'/a\n'
    list_refused(listed, line + second + b'/a\n', 'line 2', 'not on the file system')
    list_refused(listed, line, 'line 1', 'not on the file system', more=['--scan-path', os.fsdecode(second)])
    list_refused(listed, line, 'a campaign has one file system', more=['--scan-path', listed.ns, '--root', os.fsdecode(second)])


def test_a_list_with_a_server_of_the_sites_own(listed):
    listed.configure(redis_url=f'redis://127.0.0.1:{free_port()}')
    try:
        list_refused(listed, os.fsencode(listed.ns) + b'/a\n', '--from-list', 'redis_url')
    finally:
        listed.configure(redis_url=None)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_interrupted_leaves_nothing(listed, number):
    words = [BUILD / 'drover', '--config', listed.conf, 'start', '--name', 'evac', '--osts', '0', '--from-list', '-']
    p = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdin.write((os.fsencode(listed.ns) + b'/some/where\n') * 100000)
    p.stdin.flush()
    until('it reads', lambda: list(listed.base.glob('.new-*/candidates')))
    assert p.poll() is None
    p.send_signal(number)
    assert p.wait(10) == -number
    p.stdin.close()
    assert not listed.base.exists() or os.listdir(listed.base) == []
    assert processes_below(listed.dir) == {}
