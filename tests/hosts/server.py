"""What the tests of stock servers share: a network of their own where that is allowed, a folder that the server's user may enter, the
sanitizer's runtime, a file that is watched."""
import contextlib
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time

from sip import wait_for

here = os.path.dirname(os.path.abspath(__file__))
plan_text = open(os.path.join(here, "host.lua")).read()

if os.geteuid() == 0 and not os.environ.get("SIPHOOK_OWN_NET") and subprocess.run(["unshare", "-nm", "true"], stderr=subprocess.DEVNULL).returncode == 0:
    os.environ["SIPHOOK_OWN_NET"] = "1"
    os.execvp("unshare", ["unshare", "-nm", "--propagation", "private", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-B", *sys.argv])


@contextlib.contextmanager
def folder_for(user=None):
    """A folder of its own that `user` owns and everybody may read, gone at the end. What a sanitizer found in it is a failure."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        if user and os.geteuid() == 0:
            shutil.chown(folder, user)
        os.mkdir(os.path.join(folder, "findings"))
        os.chmod(os.path.join(folder, "findings"), 0o777)
        try:
            yield folder
        finally:
            for report in glob.glob(os.path.join(folder, "findings", "*")):
                print(open(report).read()[:6000], file=sys.stderr)
        assert not os.listdir(os.path.join(folder, "findings"))


def environment(folder, **more):
    """Of the server: with PRELOAD a sanitizer's runtime comes first in its process."""
    env = dict(os.environ, **more)
    if os.environ.get("PRELOAD"):
        env.update(LD_PRELOAD=os.environ["PRELOAD"], ASAN_OPTIONS="detect_leaks=0:log_path=" + os.path.join(folder, "findings", "of"))
    return env


def copied(path, folder, name=None):
    """A copy that other users may read."""
    to = os.path.join(folder, name or os.path.basename(path))
    shutil.copyfile(path, to)
    os.chmod(to, 0o644)
    return to


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o644)
    return path


class Log:
    """A server's log file. says() waits for a line that was not there at the last mark()."""

    def __init__(self, path):
        self.path, self.seen = path, 0

    def text(self):
        return open(self.path, errors="replace").read() if os.path.exists(self.path) else ""

    def mark(self):
        self.seen = len(self.text())

    def new(self):
        return self.text()[self.seen:]

    def says(self, words, seconds=10):
        wait_for("the log says: " + words, seconds, lambda: words in self.new())
        return next(line for line in self.new().splitlines() if words in line)


@contextlib.contextmanager
def explained(*logs):
    """A failure shows the logs."""
    try:
        yield
    except BaseException:
        for log in logs:
            print("--", log.path, log.text()[-4000:], sep="\n", file=sys.stderr)
        raise


def pause(seconds):
    """Where a server has no sign that something did not happen."""
    time.sleep(seconds)
