# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the HSM tools share: a real server, and events as the documented shipper writes them."""
import json
import os
import signal
import subprocess
import time

import redis

from harness import free_port, until

PREFIX = 'hsm:actions'


class Server:
    """A redis-server on a port of its own, which can hang, die and come again."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ['redis-server', '--port', str(self.port), '--bind', '127.0.0.1', '--dir', str(self.folder), '--save', '',
             '--appendonly', 'yes', '--appendfsync', 'no', '--logfile', 'redis.log'])
        self.redis = redis.Redis(port=self.port, db=1)
        until('the server answers', self.answers)

    def answers(self):
        try:
            return self.redis.ping()
        except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            return False

    def hang(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.kill()

    def args(self):
        return ['--host', '127.0.0.1', '--port', str(self.port)]

    # --- events ---

    def add(self, event, mdt='fs-MDT0000', id='*'):
        return self.redis.xadd(f'{PREFIX}:{mdt}', {'data': event if isinstance(event, (str, bytes)) else json.dumps(event)}, id=id)

    def action(self, kind, rec, action='ARCHIVE', status='STARTED', mdt='fs-MDT0000', fid=None, age=0, **more):
        event = event_of(kind, rec, action, status, mdt, fid, age)
        event.update(more)
        return self.add(event, mdt)

    def purge(self, rec=None, mdt='fs-MDT0000', fid=None, action='ARCHIVE', **more):
        """As the shipper purges; without rec as its maintenance does."""
        event = {'event_type': 'PURGED', 'mdt': mdt, 'timestamp': int(time.time()), 'status': 'PURGED',
                 'action_key': f'{fid or fid_of(rec)}:{action}'}
        if rec is not None:
            event.update(cat_idx=1, rec_idx=rec)
        event.update(more)
        return self.add(event, mdt)

    def fill(self, n, mdts=4):
        pipe = self.redis.pipeline(transaction=False)
        for i in range(n):
            mdt = f'fs-MDT{i % mdts:04x}'
            event = event_of('NEW', i + 1, ('ARCHIVE', 'RESTORE')[i // mdts % 2], 'STARTED', mdt, None, 0)
            pipe.xadd(f'{PREFIX}:{mdt}', {'data': json.dumps(event)})
            if i % 1000 == 999:
                pipe.execute()
        pipe.execute()


def fid_of(rec):
    return f'0x200000402:{rec:#x}:0x0'


def event_of(kind, rec, action, status, mdt, fid, age):
    fid = fid or fid_of(rec)
    raw = (f'lrh=[type=10680000 len=136 idx=1/{rec}] fid=[{fid}] dfid=[{fid}] compound/cookie=0x0/{0x6b02b000 + rec:#x} '
           f'action={action} archive#=1 flags=0x0 extent=0x0-0xffffffffffffffff gid=0x0 datalen=0 status={status} data=[]')
    return {'cat_idx': 1, 'rec_idx': rec, 'fid': fid, 'action': action, 'status': status, 'event_type': kind, 'mdt': mdt,
            'timestamp': int(time.time()) - age, 'raw': raw, 'action_key': f'{fid}:{action}'}


def environment(**more):
    env = {**os.environ, 'LC_ALL': 'C.UTF-8', 'TERM': 'xterm', **more}
    env.pop('NO_COLOR', None)
    return env
