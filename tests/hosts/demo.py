"""`make demo` as the README has it: the phones that it names register, one rings when the other dials, Ctrl-C ends it: demo.py ROOT"""
import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile

import server as _  # a network of its own: port 5060 is free
from phone import Phone
from sip import wait_for

root = os.path.abspath(sys.argv[1])


class DemoPhone(Phone):
    realm, algorithm, digest = "office", "MD5", hashlib.md5


with tempfile.TemporaryDirectory() as folder:
    log = os.path.join(folder, "log")
    env = dict(os.environ, XDG_RUNTIME_DIR=folder)
    demo = subprocess.Popen(["make", "--no-print-directory", "-C", root, "demo"], stdout=open(log, "w"), stderr=subprocess.STDOUT, env=env,
                            stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for("it is built and listens", 100, lambda: "listening on" in open(log).read() or demo.poll() is not None)
        said = open(log).read()
        named = dict(re.findall(r"user (\w+) +password (\w+)", said))
        assert set(named) == {"alice", "bob"} and "listening on udp://0.0.0.0:5060, tcp://0.0.0.0:5060" in said, said
        phones = {}
        for name, password in named.items():
            phones[name] = DemoPhone(5060, name)
            phones[name].password = password
            assert phones[name].register(), "a password is asked for"
        alice, bob = phones["alice"], phones["bob"]
        uri = f"sip:bob@127.0.0.1:{alice.port}"
        alice.request("INVITE", uri, f"Contact: {alice.contact}\r\n" + "Proxy-" + alice.credentials("INVITE", uri), "demo")
        bob.reply(bob.take("INVITE "), "486 Busy Here")
        alice.take("SIP/2.0 486")
        os.killpg(demo.pid, signal.SIGINT)
        demo.wait(20)
    except BaseException:
        print(open(log).read(), file=sys.stderr)
        raise
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
