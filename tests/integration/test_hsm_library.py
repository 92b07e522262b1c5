# SPDX-License-Identifier: LGPL-2.1-or-later
"""libdrover-hsm as others get it: installed, found by pkg-config, with nothing but its own symbols; and its example at work."""
import os
import shutil
import signal
import subprocess

import pytest

from harness import BUILD, PATIENCE, REPO, free_port, until
from hsm import SANITIZED, Follower, Server, event

TREE = BUILD.parent
A = 'hsm:actions:fs-MDT0000'


def run(*words, env=None):
    p = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, env=env)
    assert p.returncode == 0, (words, p.stdout.decode())
    return p.stdout.decode()


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """@return the words of a compiler for the installed library, and the folder that it is in"""
    meson = '/usr/bin/meson' if os.path.exists('/usr/bin/meson') else 'meson'
    if not (TREE / 'build.ninja').exists() or not shutil.which('pkg-config'):
        pytest.skip('no build folder to install from, or no pkg-config')
    top = tmp_path_factory.mktemp('install')
    run(meson, 'install', '-C', TREE, '--no-rebuild', '--tags', 'devel,runtime', '--destdir', top)
    pc, = top.rglob('drover-hsm.pc')
    env = {**os.environ, 'PKG_CONFIG_SYSROOT_DIR': str(top), 'PKG_CONFIG_LIBDIR': str(pc.parent)}
    flags = run('pkg-config', '--cflags', '--libs', 'drover-hsm', env=env).split()
    return flags, next(top.rglob('libdrover-hsm.so')).parent


@pytest.fixture
def server(tmp_path):
    server = Server(str(tmp_path))
    server.kill(signal.SIGTERM)
    server.start(port=free_port())
    yield server
    server.kill()


def test_only_its_own_symbols_are_seen(installed):
    _, folder = installed
    lines = run('nm', '-D', '--defined-only', folder / 'libdrover-hsm.so.1').splitlines()
    names = {x.split()[-1] for x in lines} - {'DROVER_HSM_1'}
    assert names == {f'drover_hsm_{n}@@DROVER_HSM_1' for n in (
        'bad_entries', 'close', 'next', 'open', 'options_init', 'seek', 'set_log', 'stop', 'version')}


def test_the_header_stands_alone_in_c_and_in_cxx(installed, tmp_path):
    flags, _ = installed
    source = tmp_path / 'x.c'
    source.write_text('#include <drover-hsm.h>\nint main(void) { return drover_hsm_version() == 0; }\n')
    strict = ['-Wall', '-Wextra', '-Wpedantic', '-Werror', '-fsyntax-only']
    run('cc', '-std=c99', *strict, source, *flags)
    if not shutil.which('c++'):
        pytest.skip('no C++ compiler')
    run('c++', '-x', 'c++', '-std=c++11', *strict, source, *flags)


@pytest.mark.skipif(SANITIZED, reason='the example is built without the sanitizer')
def test_the_example_alerts_on_failures(installed, server, tmp_path):
    flags, folder = installed
    run('cc', '-Wall', '-Wextra', '-Werror', REPO / 'examples' / 'hsm-alert.c', *flags, '-o', tmp_path / 'hsm-alert')
    server.add(A, event(1, status='FAILED'))
    env = {**os.environ, 'LD_LIBRARY_PATH': str(folder)}
    with Follower(tmp_path / 'hsm-alert', '127.0.0.1', str(server.port), env=env) as alert:

        def fail():
            server.add(A, event(2, 'UPDATE', 'RESTORE', 'STARTED'))
            server.add(A, event(3, 'UPDATE', 'RESTORE', 'FAILED', cookie='0x77'))
            return alert.lines

        until('an alert', fail, every=0.1)
        assert alert.lines[0].startswith('fs-MDT0000: RESTORE of 0x200000402:0x3:0x0 failed (cookie 0x77, entry ')
        server.kill()
        until('it tells of the lost server', lambda: any('redis-' in x for x in alert.errors))
        server.start(port=server.port)
        until('an alert again', lambda: fail() and len(alert.lines) > 1, every=0.1)
        assert alert.end() == 0


PROBE = r'''
#include <drover-hsm.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void on_log(void *arg, enum drover_hsm_level level, const char *message)
{
	(void)level;
	assert(strchr(message, '\n') == NULL);
	++*(int *)arg;
}
int main(int argc, char **argv)
{
	struct drover_hsm_options options;
	struct drover_hsm_reader *reader = NULL;
	const struct drover_hsm_event *event = NULL;
	int n_logged = 0, r;
	assert(argc == 3);
	drover_hsm_options_init(&options, sizeof options);
	assert(options.size == sizeof options && options.port == 6379 && options.db == 1);
	options.prefix = "";
	assert(drover_hsm_open(&options, &reader) == -EINVAL);
	drover_hsm_options_init(&options, sizeof options);
	options.size = sizeof options + 8;
	assert(drover_hsm_open(&options, &reader) == -EINVAL);
	options.size = 8;
	assert(drover_hsm_open(&options, &reader) == -EINVAL);
	drover_hsm_options_init(&options, sizeof options);
	options.url = "nonsense";
	assert(drover_hsm_open(&options, &reader) == -EINVAL);
	options.url = "unix:///nowhere/at/all";
	options.from = DROVER_HSM_ONCE;
	assert(drover_hsm_open(&options, &reader) == 0);
	assert(drover_hsm_next(reader, 0, &event) == -ENOTCONN);
	drover_hsm_stop(reader);
	assert(drover_hsm_next(reader, -1, &event) == -ECANCELED);
	drover_hsm_close(reader);
	drover_hsm_close(NULL);
	drover_hsm_set_log(on_log, &n_logged);
	options.url = argv[1];
	assert(drover_hsm_open(&options, &reader) == 0);
	assert(drover_hsm_seek(reader, "other:x", 1, 1) == -EINVAL);
	assert(drover_hsm_seek(reader, argv[2], 1, 1) == 0);
	while ((r = drover_hsm_next(reader, 5000, &event)) == 1) {
		printf("%d %s %s %llu-%llu %lld/%lld %lld", event->type, event->stream, event->mdt,
			(unsigned long long)event->id_ms, (unsigned long long)event->id_seq, (long long)event->cat_idx,
			(long long)event->rec_idx, (long long)event->timestamp);
		printf(" %s %s %s %s %s %s %s %d\n", event->fid ? event->fid : "-", event->action ? event->action : "-",
			event->status ? event->status : "-", event->action_key ? event->action_key : "-",
			event->cookie ? event->cookie : "-", event->raw ? event->raw : "-", event->source ? event->source : "-",
			event->json && strlen(event->json) == event->json_len);
	}
	assert(r == 0 && drover_hsm_bad_entries(reader) == 1 && n_logged > 0);
	assert(drover_hsm_seek(reader, argv[2], 1, 1) == -EINVAL);
	drover_hsm_close(reader);
	return 0;
}
'''


@pytest.mark.skipif(SANITIZED, reason='the program is built without the sanitizer')
def test_events_have_typed_fields_and_the_library_is_silent(installed, server, tmp_path):
    flags, folder = installed
    (tmp_path / 'probe.c').write_text(PROBE)
    run('cc', '-Wall', '-Wextra', '-Werror', tmp_path / 'probe.c', *flags, '-o', tmp_path / 'probe')
    server.add(A, event(1), '1-1')
    server.add(A, event(2, cookie='0x1', raw='a "line"'), '1-2')
    server.add(A, 'bad', '1-3')
    server.add(A, {'event_type': 'PURGED', 'action_key': 'f:A', 'source': 'maintenance'}, '2-0')
    server.add(A, {'event_type': 'else'}, '18446744073709551615-1')
    p = subprocess.run([tmp_path / 'probe', server.url, A], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       env={**os.environ, 'LD_LIBRARY_PATH': str(folder)}, timeout=PATIENCE)
    assert p.returncode == 0 and p.stderr == b'', p
    assert p.stdout.decode().splitlines() == [
        f'1 {A} fs-MDT0000 1-2 1/2 1759396325 0x200000402:0x2:0x0 ARCHIVE WAITING 0x200000402:0x2:0x0:ARCHIVE 0x1 a "line" - 1',
        f'3 {A} fs-MDT0000 2-0 -1/-1 0 - - - f:A - - maintenance 1',
        f'0 {A} fs-MDT0000 18446744073709551615-1 -1/-1 0 - - - - - - - 1',
    ]
