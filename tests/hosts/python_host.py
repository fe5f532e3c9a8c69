"""The Python adapter as its users use it: python_host.py SIPHOOK.SO. Calls, events, reload, metrics, drain; serve.py under asyncio."""
import os
import signal
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
adapter = os.path.join(here, "../../examples/hosts/python")
sys.path.insert(0, adapter)
import siphook  # noqa: E402
from sip import Caller, free_port, wait_for  # noqa: E402

so = os.path.abspath(sys.argv[1])
plan = os.path.join(here, "host.lua")


def events_metrics_and_drain():
    port = free_port()
    events, lines, got = [], [], []
    caller = Caller(port, lambda: sip.process())
    with siphook.Siphook(
        plan, ["udp://127.0.0.1:%d" % port], config={"peer": "sip:phone@127.0.0.1:%d" % caller.phone_port}, so=so,
        log=lambda level, line: lines.append((level, line)), event=lambda name, call: events.append((name, call)),
    ) as sip:
        sip.start()
        assert caller.options() == 200
        caller.connect()
        assert [name for name, _ in events] == ["call.new", "call.answer"], events
        assert sip.query("calls")[0]["id"] == events[0][1]["id"]
        sip.reload(lambda *outcome: got.append(outcome))
        assert sip.run(5, lambda: got) and got == [(2, None)], got
        caller.hang_up()
        name, end = events[-1]
        assert name == "call.end" and end["by"] == "caller" and end["code"] == 200 and end["duration"] >= 0, events
        metrics = sip.query("metrics")
        assert "\nsiphook_calls_answered_total 1\n" in metrics and "# TYPE siphook_calls gauge" in metrics, metrics

        # Draining: what is up goes on, what is new is refused.
        caller.connect()
        sip.drain()
        newcomer = Caller(port, sip.process)
        assert newcomer.invite() == 503
        assert sip.query("status")["draining"] is True
        caller.hang_up()
        assert sip.query("status")["calls"] == 0
        newcomer.close()

        try:
            sip.hangup("nobody")
            raise AssertionError("a call that is not there")
        except siphook.Error as e:
            assert e.code == -2
    caller.close()


def a_deadline_ends_what_is_up():
    port = free_port()
    ends = []
    caller = Caller(port, lambda: sip.process())
    with siphook.Siphook(
        plan, ["udp://127.0.0.1:%d" % port], config={"peer": "sip:phone@127.0.0.1:%d" % caller.phone_port}, so=so,
        event=lambda name, call: ends.append(call) if name == "call.end" else None,
    ) as sip:
        sip.start()
        caller.connect()
        sip.drain(0.2)
        caller.is_hung_up()
        assert [(e["by"], e["code"]) for e in ends] == [("engine", 200)], ends
    caller.close()


def mistakes_are_told():
    for options, words in (({"wrokers": 1}, 'did you mean "workers"'), ({"watch": "maybe"}, '"watch"')):
        try:
            siphook.Siphook(plan, options=options, so=so)
            raise AssertionError(options)
        except siphook.Error as e:
            assert words in str(e), e
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as broken:
        broken.write("local a = = 1\n")
        broken.flush()
        try:
            siphook.check(broken.name, so=so)
            raise AssertionError("a broken script")
        except siphook.Error as e:
            assert ":1:" in str(e), e
    siphook.check(plan, so=so)


def asyncio_serves():
    port = free_port()
    with tempfile.TemporaryFile("w+") as out:
        server = subprocess.Popen(
            [sys.executable, os.path.join(adapter, "serve.py"), plan, "udp://127.0.0.1:%d" % port],
            env=dict(os.environ, SIPHOOK_SO=so), stdout=out, stderr=subprocess.STDOUT)

        def printed():
            out.seek(0)
            return out.read()

        try:
            wait_for("it is ready", 10, lambda: "ready" in printed())
            caller = Caller(port)
            assert caller.options() == 200 and caller.invite() == 404
            server.send_signal(signal.SIGHUP)
            wait_for("it reloads", 10, lambda: "generation 2" in printed())
            server.send_signal(signal.SIGTERM)
            assert server.wait(10) == 0
            assert "call.end" in printed()
        except BaseException:
            server.kill()
            print(printed(), file=sys.stderr)
            raise


events_metrics_and_drain()
a_deadline_ends_what_is_up()
mistakes_are_told()
asyncio_serves()
