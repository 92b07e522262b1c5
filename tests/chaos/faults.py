# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What is done to the hosts. A fault is a context manager: it begins, lasts for a while, and is healed; after that it says
what must be true.

r is the round. r.alone is true while no other fault overlaps: only then can it be told what a fault must lead to.
"""
import contextlib
import ctypes
import os
import select
import signal
import struct
import time

import harness
from hosts import LIBC, kill, process_state, send

IN_CREATE = 0x100
FAULTS = {}


class Fault:
    def __init__(self, kind, manager, seconds, what):
        self.kind, self.manager, self.seconds, self.what = kind, manager, seconds, what

    def lasts(self, rng):
        return rng.uniform(*self.seconds)


def fault(kind, seconds=(0, 0), what='processes'):
    """what: faults of the same thing do not overlap."""
    def add(function):
        FAULTS[kind] = Fault(kind, contextlib.contextmanager(function), seconds, what)
        return function
    return add


# --- processes that die ---------------------------------------------------------------------------------------------

@fault('kill-leader')
def kill_leader(r):
    leader, epoch = r.leader(), r.epoch()
    began = time.monotonic()
    r.keeper.kill(leader)
    r.say(f'killed the leader on {leader.name}, epoch {epoch}')
    yield
    if r.alone:
        r.next_epoch(epoch, began)


@fault('kill-server')
def kill_server(r):
    server, epoch = r.server(), r.epoch()
    began = time.monotonic()
    kill(server.pid)
    r.say(f'killed {server}')
    yield
    if r.alone:
        r.next_epoch(epoch, began)


@fault('kill-follower')
def kill_follower(r):
    host = r.rng.choice(r.followers())
    r.keeper.kill(host)
    r.say(f'killed the follower on {host.name}')
    yield


@fault('kill-all')
def kill_all(r):
    epoch, began = r.epoch(), time.monotonic()
    for host in r.cluster.hosts:
        r.keeper.kill(host)
    r.say('killed all daemons')
    yield
    if r.alone:
        r.next_epoch(epoch, began)


@contextlib.contextmanager
def all_stopped(hosts):
    """Nobody takes over meanwhile."""
    pids = [h.daemon.pid for h in hosts if h.daemon.alive()]
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)


@fault('kill-new-leader', what='leader')
def kill_new_leader(r):
    """Of the followers one alone may lead; it is killed while it makes its epoch. So may be the next; then all may."""
    leader, followers, epoch = r.leader(), r.followers(), r.epoch()
    r.rng.shuffle(followers)
    victims = followers[:r.rng.randint(1, 2)]
    with all_stopped(followers):
        r.keeper.kill(leader, hold=True)
        for victim in victims:
            with watch_for_epochs(r.site.base / r.name) as new_epoch:
                send(victim.daemon.pid, signal.SIGCONT)
                name = new_epoch(20)
                if not name:
                    r.violations.add('stuck', f'{victim.name} is alone, and makes no epoch within 20 s')
                delay = r.rng.choice([0, r.rng.uniform(0, 0.004), r.rng.uniform(0, 0.05)])
                time.sleep(delay)
                r.keeper.kill(victim, hold=True)
            there = sorted(p.name for p in (r.site.base / r.name).glob('epoch-*'))
            r.say(f'killed the new leader on {victim.name} {delay * 1000:.1f} ms after it made {name}; '
                  f'there is {there}')
        began = time.monotonic()
    yield
    for host in [leader, *victims]:
        r.keeper.release(host)
    if r.alone:
        r.next_epoch(epoch, began)


@contextlib.contextmanager
def watch_for_epochs(folder):
    """Gives a function that waits for the next folder of an epoch to be made. @return its name; None: in vain"""
    fd = LIBC.inotify_init1(os.O_CLOEXEC)
    if fd < 0 or LIBC.inotify_add_watch(fd, os.fsencode(folder), IN_CREATE) < 0:
        raise OSError(ctypes.get_errno(), 'inotify')

    def wait(seconds):
        end = time.monotonic() + seconds
        while select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
            data, at = os.read(fd, 65536), 0
            while at < len(data):
                size = struct.unpack_from('iIII', data, at)[3]
                name = data[at + 16:at + 16 + size].rstrip(b'\0').decode(errors='replace')
                if name.startswith('epoch-'):
                    return name
                at += 16 + size
        return None
    try:
        yield wait
    finally:
        os.close(fd)


@fault('cut-aof', what='leader')
def cut_aof(r):
    """A crash of a whole host may take the last writes along, where its disk lied: the file's tail is gone."""
    leader, server, epoch = r.leader(), r.server(), r.epoch()
    with all_stopped(r.followers()):
        r.keeper.kill(leader, hold=True)
        kill(server.pid)
        began = time.monotonic()
        folder = max((r.site.base / r.name).glob('epoch-*[0-9]'), key=lambda p: int(p.name.partition('-')[2]))
        path = max(folder.glob('appendonlydir/*.incr.aof'))
        size = path.stat().st_size
        cut = r.rng.randint(1, 4096)
        if size > 4 * cut:
            r.sampler.cut_epoch, r.was_cut = epoch, True
            os.truncate(path, size - cut)
            r.say(f'cut {cut} of {size} bytes off {folder.name}/{path.name}')
    yield
    r.keeper.release(leader)
    if r.alone:
        r.next_epoch(epoch, began)


# --- processes that stop --------------------------------------------------------------------------------------------

@contextlib.contextmanager
def stopped(*pids):
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)


@fault('stop-leader', seconds=(3, 7))
def stop_leader(r):
    """Longer than its claims last. Its server runs on, and the lock is held: nobody else leads."""
    leader, epoch = r.leader(), r.epoch()
    with stopped(leader.daemon.pid):
        r.say(f'stopped the leader on {leader.name}')
        yield
        if r.alone and r.epoch() != epoch:
            r.violations.add('stolen', f'epoch {epoch} was held by a stopped leader, and epoch {r.epoch()} began')


@fault('stop-host', seconds=(3, 7))
def stop_host(r):
    """The leader and its server, as a machine that was paused."""
    leader, server, epoch = r.leader(), r.server(), r.epoch()
    with stopped(leader.daemon.pid, server.pid):
        r.say(f'stopped the leader and its server on {leader.name}')
        yield
        if r.alone and r.epoch() != epoch:
            r.violations.add('stolen', f'epoch {epoch} was held by a stopped host, and epoch {r.epoch()} began')


@fault('stop-follower', seconds=(3, 7))
def stop_follower(r):
    host = r.rng.choice(r.followers())
    with stopped(host.daemon.pid):
        r.say(f'stopped the follower on {host.name}')
        yield


@fault('stop-server', seconds=(3, 12))
def stop_server(r):
    server = r.server()
    with stopped(server.pid):
        r.say(f'stopped {server}')
        yield


@fault('slow-server', seconds=(4, 8))
def slow_server(r):
    """It runs a part of the time only."""
    server = r.server()
    r.say(f'slows {server} down')
    end = r.background(stutter, server.pid, r.rng.uniform(0.05, 0.4))
    try:
        yield
    finally:
        end()


def stutter(end, pid, seconds):
    while not end.is_set() and process_state(pid) not in (None, 'Z'):
        send(pid, signal.SIGSTOP)
        end.wait(seconds)
        send(pid, signal.SIGCONT)
        end.wait(0.02)


# --- the network ----------------------------------------------------------------------------------------------------

def cut(r, host, way, leads):
    """
    A leader that is cut off from the others, and not from the folder, keeps its lock and works on alone; nobody steals
    it, and the others come back. A follower that is cut off steals nothing either.
    """
    epoch, before = r.epoch(), r.progress()
    began = time.monotonic()
    host.cut(way)
    r.say(f'cut {host.name} off ({way}), {"which leads" if leads else "a follower"}')
    try:
        yield
        if r.alone:
            if r.epoch() != epoch:
                r.violations.add('stolen', f'{host.name} was cut off ({way}) in epoch {epoch}: {r.epoch()} began')
            elif leads and time.monotonic() - began > 4 and r.sampler.last_at > began + 3 and \
                    r.progress()['succeeded'] <= before['succeeded']:
                r.violations.add('stuck', f'{host.name} leads, was cut off ({way}), does not work on alone: {before}')
    finally:
        host.heal()
    if r.alone:
        with r.violations.noting('stuck'):
            harness.until(f'all work again after {host.name} was cut off ({way})',
                          lambda: r.is_over() or len(r.workers()) == len(r.cluster.hosts), r.patience, every=0.1)
        if r.epoch() != epoch:
            r.violations.add('stolen', f'{host.name} was cut off ({way}) and healed: epoch {epoch}, then {r.epoch()}')


@fault('cut-leader', seconds=(3, 12), what='network')
def cut_leader(r):
    yield from cut(r, r.leader(), 'both', True)


@fault('cut-follower', seconds=(3, 8), what='network')
def cut_follower(r):
    yield from cut(r, r.rng.choice(r.followers()), 'both', False)


@fault('deaf', seconds=(3, 8), what='network')
def deaf(r):
    leads = r.rng.random() < 0.6
    yield from cut(r, r.leader() if leads else r.rng.choice(r.followers()), 'deaf', leads)


@fault('mute', seconds=(3, 8), what='network')
def mute(r):
    leads = r.rng.random() < 0.6
    yield from cut(r, r.leader() if leads else r.rng.choice(r.followers()), 'mute', leads)


@fault('slow-network', seconds=(4, 8), what='network')
def slow_network(r):
    leader = r.leader()
    leader.cut('slow')
    r.say(f'slowed the network of {leader.name} down')
    try:
        yield
    finally:
        leader.heal()


# --- the shared folder ----------------------------------------------------------------------------------------------

@fault('fill', seconds=(3, 8), what='folder')
def fill(r):
    r.folder_failed = True
    r.share.fill()
    r.say('filled the shared folder')
    try:
        yield
    finally:
        r.share.drain()


@fault('read-only', seconds=(3, 8), what='folder')
def read_only(r):
    r.folder_failed = True
    r.share.forbid_writing(r.site.base / r.name)
    r.say('made the shared folder read-only')
    try:
        yield
    finally:
        r.share.allow_writing()


@fault('freeze', seconds=(3, 12), what='folder')
def freeze(r):
    """Writes hang, as those to a file server that is away."""
    r.share.freeze()
    r.say('froze the shared folder')
    try:
        yield
    finally:
        r.share.thaw()
