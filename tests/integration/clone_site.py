# SPDX-License-Identifier: LGPL-2.1-or-later
"""A place for clones: a source, a target, campaigns with the real programs."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

from harness import BUILD, PATIENCE, until


class Site:
    def __init__(self, folder):
        self.dir = pathlib.Path(folder)
        self.src, self.dst = self.dir / 'src', self.dir / 'dst'
        self.src.mkdir()
        self.dst.mkdir()
        self.n, self.daemons = 0, []
        self.options = {}

    def conf(self):
        path = self.dir / 'drover.conf'
        keys = {'base_path': self.dir / 'campaigns', 'metrics_port': 0, 'log_level': 'debug', **self.options}
        text = '[main]\n' + ''.join(f'{k} = {v}\n' for k, v in keys.items())
        # A daemon may be reading it.
        if not path.exists() or path.read_text() != text:
            path.with_suffix('.new').write_text(text)
            os.replace(path.with_suffix('.new'), path)
        return path

    def drover(self, *words, code=0):
        done = subprocess.run([BUILD / 'drover', '--config', self.conf(), *words], capture_output=True, text=True,
                              errors='backslashreplace', timeout=PATIENCE)
        assert done.returncode == code, (words, done)
        return done.stdout

    def start(self, *words, src=None, dst=None, code=0):
        self.n += 1
        name = f'c{self.n}'
        out = self.drover('start', 'clone', '--name', name, '--from', src or self.src, '--to', dst or self.dst, *words, code=code)
        return name if code == 0 else out

    def daemon(self, name):
        log = open(self.dir / f'{name}.log', 'ab')
        process = subprocess.Popen([BUILD / 'droverd', '--config', self.conf(), '--campaign', name], stdout=log, stderr=log)
        log.close()
        self.daemons.append(process)
        return process

    def logs(self):
        return [(p.name, p.read_text(errors='backslashreplace')[-8000:]) for p in self.dir.glob('*.log')]

    def log(self, name):
        return (self.dir / f'{name}.log').read_text(errors='backslashreplace')

    def wait(self, name, code=0):
        done = subprocess.run([BUILD / 'drover', '--config', self.conf(), 'wait', name, '--timeout', str(int(PATIENCE))],
                              capture_output=True, text=True)
        assert done.returncode == code, (done, self.log(name)[-5000:], self.drover('report', name)[-3000:])

    def status(self, name):
        return json.loads(self.drover('status', name, '--json'))

    def run(self, *words, code=0, n=1):
        """A whole campaign; its last status."""
        name = self.start(*words)
        daemons = [self.daemon(name) for _ in range(n)]
        self.wait(name, code)
        for d in daemons:
            d.wait(PATIENCE)
        return self.status(name)

    def close(self):
        for d in self.daemons:
            if d.poll() is None:
                d.kill()
            d.wait()
        for tree in (self.src, self.dst):
            subprocess.run(['chattr', '-R', '-i', '-a', '-f', tree], stderr=subprocess.DEVNULL)
            shutil.rmtree(tree, ignore_errors=True)


def differences(src, dst):
    """What rsync would do to make them alike; nothing when they are."""
    done = subprocess.run(['rsync', '-aHAX', '--checksum', '--delete', '--dry-run', '--itemize-changes', f'{src}/', f'{dst}/'],
                          capture_output=True, text=True, errors='backslashreplace')
    assert done.returncode == 0, done
    return done.stdout.splitlines()
