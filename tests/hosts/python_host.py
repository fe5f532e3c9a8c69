"""The Python adapter as its users use it: python_host.py SIPHOOK.SO FAKES. Calls, events, reload, metrics, drain; serve.py under asyncio."""
import os
import signal
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
adapter = os.path.join(here, "../../examples/hosts/python")
sys.path.insert(0, adapter)
import siphook  # noqa: E402
from sip import Caller, free_port, sipp_call, sipp_passed, wait_for  # noqa: E402

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


def tests_of_dial_plans_run():
    with tempfile.NamedTemporaryFile("w", suffix="_test.lua") as f:
        f.write("""
            local t = require "siphook.test"
            local function call(code)
              return function()
                local plan = t.load(%r)
                plan:phone("alice"):invite("bob"):expect(code)
              end
            end
            t.case("refused", call(404))
            t.case("connected", call(200))
        """ % plan)
        f.flush()
        (first, good), (second, bad) = siphook.run_tests(f.name, so=so)
        assert (first, good, second) == ("refused", None, "connected") and "404" in bad and "INVITE" in bad, bad
        assert siphook.run_tests(f.name, filter="refu", so=so) == [("refused", None)]
    try:
        siphook.run_tests("/nowhere_test.lua", so=so)
        raise AssertionError("a file that is not there")
    except siphook.Error as e:
        assert "/nowhere_test.lua" in str(e), e


def another_object_is_refused():
    for name in ("fake_none.so", "fake_short.so"):
        try:
            siphook.load(os.path.join(sys.argv[2], name))
            raise AssertionError(name)
        except siphook.Error as e:
            assert "another version of the host interface" in str(e), e


def an_occupied_port_is_told_and_may_be_tried_again():
    port = free_port()
    with siphook.Siphook(plan, ["udp://127.0.0.1:%d" % port], so=so) as one, siphook.Siphook(plan, ["udp://127.0.0.1:%d" % port], so=so) as two:
        one.start()
        try:
            two.start()
            raise AssertionError("two at one port")
        except siphook.Error as e:
            assert "%d: Address already in use" % port in str(e), e
        one.stop()
        two.start()
        assert Caller(port, two.process).options() == 200


def asyncio_serves():
    """A call by SIPp, a reload while it is up, the end, and the next start, as users of a service do it."""
    port, phone_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "out"), "w+") as out:
        def start():
            return subprocess.Popen(
                [sys.executable, os.path.join(adapter, "serve.py"), plan, "udp://127.0.0.1:%d" % port, "peer=sip:phone@127.0.0.1:%d" % phone_port],
                env=dict(os.environ, SIPHOOK_SO=so), stdout=out, stderr=subprocess.STDOUT)

        def printed():
            return open(out.name).read()

        server = start()
        try:
            wait_for("it is ready", 10, lambda: "ready" in printed())
            caller = Caller(port)
            assert caller.options() == 200
            during = sipp_call(port, phone_port, folder, hold_ms=1000)
            wait_for("the call is up", 10, lambda: "call.answer" in printed())
            server.send_signal(signal.SIGHUP)
            wait_for("it reloads", 10, lambda: "\ngeneration 2\n" in printed())
            sipp_passed(during, folder)
            wait_for("the end is told", 5, lambda: "call.end" in printed())
            server.send_signal(signal.SIGTERM)
            assert server.wait(10) == 0
            server = start()
            assert caller.options() == 200
            server.kill()  # it dies without a word, and is started again
            server.wait()
            server = start()
            assert caller.options() == 200
            server.send_signal(signal.SIGTERM)
            assert server.wait(10) == 0
            assert "generation 2 of" in printed()
        except BaseException:
            server.kill()
            print(printed(), file=sys.stderr)
            raise


events_metrics_and_drain()
a_deadline_ends_what_is_up()
mistakes_are_told()
tests_of_dial_plans_run()
another_object_is_refused()
an_occupied_port_is_told_and_may_be_tried_again()
asyncio_serves()
