"""Two linphonec phones register with digest and call each other through siphook over UDP and TCP."""
import os
import re
import subprocess

import house
from house import HERE, HOST, must, text_of, until

CONFIG = """[sip]
sip_port={udp}
sip_tcp_port={tcp}
sip_tls_port=0
register_only_when_network_is_up=0
guess_hostname=0
contact=sip:{user}@{host}
use_ipv6=0
ping_with_options=0
[rtp]
audio_rtp_port={rtp}
[sound]
playback_dev_id=null
capture_dev_id=null
ringer_dev_id=null
[net]
stun_server=
firewall_policy=0
[misc]
uuid=00000000-0000-0000-0000-{rtp:012d}
"""


class Phone(house.Program):
    """One linphonec with a home of its own, driven by lines on its standard input."""

    def __init__(self, part, transport, user, *options):
        home = part.file(f"{user}-{transport}")
        os.makedirs(os.path.join(home, ".local/share/linphone"))
        self.user = user
        self.port = house.port()
        rc = os.path.join(home, "rc")
        with open(rc, "w") as f:
            f.write(CONFIG.format(user=user, host=HOST, udp=self.port if transport == "udp" else 0,
                                  tcp=self.port if transport == "tcp" else 0, rtp=house.port(even=True)))
        env = dict(os.environ, HOME=home, XDG_CONFIG_HOME=home, XDG_DATA_HOME=home, TERM="dumb")
        env.pop("DISPLAY", None)
        super().__init__(part, f"{user}-{transport}", ["linphonec", "-c", rc, *options], env=env, cwd=home, stdin=subprocess.PIPE)

    def tell(self, line):
        must(self.running, f"{self.user}'s linphonec runs: {text_of(self.log, 10)}")
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def expect(self, text):
        until(f"{self.user} says {text!r}", lambda: re.search(text, text_of(self.log)))


def over(part, transport):
    name = f"linphonec, {transport}: "
    with part.test(name + "two phones register with digest", keep=True):
        server = house.Server(part, os.path.join(HERE, "phones.lua"))
        alice = Phone(part, transport, "alice")
        bob = Phone(part, transport, "bob", "-a")
        peer = f"{HOST}:{server.port};transport={transport}"
        for phone, password in ((alice, "wonder"), (bob, "builder")):
            phone.tell("soundcard use files /usr/share/sounds/linphone/hello8000.wav")
            phone.tell(f"register sip:{phone.user}@{HOST} sip:{peer} {password}")
        until("both are registered", lambda: len(server.ask("registrations")) == 2)
    with part.test(name + "one calls the other, who answers and hangs up"):
        alice.tell(f"call sip:bob@{HOST}")
        until("one call is up", lambda: [c["state"] for c in server.ask("calls")] == ["up"])
        for phone in (alice, bob):
            phone.expect("Media streams established with")
        until("they have talked for a second", lambda: server.ask("calls")[0]["duration"] > 1)
        bob.tell("terminate")
        for phone in (alice, bob):
            phone.expect("Call .* ended")
        until("no call is left", server.idle)
    with part.test(name + "the phones leave"):
        for phone in (alice, bob):
            phone.tell("quit")
            phone.wait()
        must(server.stop() == 0, "siphook ends with 0")
    part.end()


def tests(part):
    for transport in ("udp", "tcp"):
        over(part, transport)


if __name__ == "__main__":
    house.run(tests)
