"""A server in an asyncio loop: serve.py DIALPLAN.LUA [URI | NAME=VALUE]... NAME is read by the dial plan as sip.config.NAME. SIGHUP reloads,
SIGINT and SIGTERM end it."""

import asyncio
import signal
import sys

import siphook


def print_reload(generation, error):
    print("generation %d" % generation if not error else "refused: " + error, flush=True)


async def main():
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    sip = siphook.Siphook(
        sys.argv[1],
        listen=[word for word in sys.argv[2:] if "://" in word] or ["udp://127.0.0.1:5060"],
        config=dict(word.split("=", 1) for word in sys.argv[2:] if "://" not in word),
        log=lambda level, line: print(level, line, flush=True),
        event=lambda name, call: print(name, call["id"], call["from"], "->", call["uri"], flush=True),
    )
    with sip:
        sip.start()
        loop.add_reader(sip.fileno(), sip.process)
        loop.add_signal_handler(signal.SIGHUP, sip.reload, print_reload)
        for signo in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signo, ended.set)
        print("ready", flush=True)
        await ended.wait()
        loop.remove_reader(sip.fileno())
        sip.stop(5)


asyncio.run(main())
