"""`siphook run` as a service manager runs it: service.py SIPHOOK. Sockets that it is given, notices, watchdog; no systemd needed."""
import os
import signal
import socket
import sys
import tempfile

from sip import Caller, wait_for

here = os.path.dirname(os.path.abspath(__file__))
siphook = os.path.abspath(sys.argv[1])

with tempfile.TemporaryDirectory() as folder:
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(os.path.join(folder, "notify"))
    notices.settimeout(10)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    port = udp.getsockname()[1]
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind(("127.0.0.1", port))
    tcp.listen()

    # What comes before the service is there waits in the socket.
    caller = Caller(port)
    caller.new()
    caller.send("OPTIONS", 1)

    def start(workers):
        pid = os.fork()
        if pid:
            return pid
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        copies = [os.dup(s.fileno()) for s in (udp, tcp)]
        for i, fd in enumerate(copies):
            os.dup2(fd, 3 + i)
        env = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", NOTIFY_SOCKET=os.path.join(folder, "notify"), WATCHDOG_USEC="400000")
        os.execve(siphook, ["siphook", "run", "-s", os.path.join(folder, "control"), "-w", str(workers), "-l", f"udp://127.0.0.1:{port}", "-l",
                            f"tcp://127.0.0.1:{port}", "-o", "log_level=error", os.path.join(here, "host.lua")], env)

    def notice():
        return notices.recv(4096).decode()

    for workers in (1, 2):
        pid = start(workers)
        try:
            assert notice() == "READY=1"
            if workers == 1:
                assert caller.take(caller.a, "SIP/2.0 ").startswith("SIP/2.0 200"), "the waiting datagram is answered"
            for _ in range(5):
                assert caller.options() == 200
            with socket.create_connection(("127.0.0.1", port), 5) as s:
                s.sendall(b"OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKtcp\r\nMax-Forwards: 70\r\n"
                          b"From: <sip:a@b>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: tcp%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n" % workers)
                s.settimeout(5)
                assert s.recv(4096).startswith(b"SIP/2.0 200")
            assert notice() == "WATCHDOG=1"
            os.kill(pid, signal.SIGHUP)
            said = []

            def ready_again():
                said.append(notice())
                return said[-1] == "READY=1"

            wait_for("the reload is told", 10, ready_again)
            assert any(s.startswith("RELOADING=1\nMONOTONIC_USEC=") for s in said), said
            os.kill(pid, signal.SIGTERM)

            def stopping():
                return notice() == "STOPPING=1"

            wait_for("the end is told", 10, stopping)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            pid = 0
        finally:
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    # The sockets outlive the service: nobody has shut them down.
    with socket.create_connection(("127.0.0.1", port), 5):
        pass
