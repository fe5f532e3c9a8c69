"""options.py PORT: sends OPTIONS to a UDP port of this machine until it is answered with 200. options.py free: a free port."""
import socket
import sys
import time

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 0))
own = sock.getsockname()[1]
if sys.argv[1] == "free":
    print(own)
    sys.exit(0)
port = int(sys.argv[1])
sock.settimeout(0.3)
for serial in range(1, 50):
    sock.sendto(
        (
            f"OPTIONS sip:127.0.0.1:{port} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK{own}o{serial};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:t@127.0.0.1>;tag=o{serial}\r\nTo: <sip:127.0.0.1:{port}>\r\n"
            f"Call-ID: o{own}x{serial}\r\nCSeq: {serial} OPTIONS\r\nContent-Length: 0\r\n\r\n"
        ).encode(),
        ("127.0.0.1", port),
    )
    try:
        answer = sock.recv(65536)
    except OSError:
        time.sleep(0.1)
        continue
    sys.exit(0 if answer.startswith(b"SIP/2.0 200") else answer.decode(errors="replace"))
sys.exit("no answer")
