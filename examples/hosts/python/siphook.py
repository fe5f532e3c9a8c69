"""siphook in a Python process: ctypes, nothing to compile.

    import siphook

    with siphook.Siphook("dialplan.lua", listen=["udp://127.0.0.1:5060"]) as sip:
        sip.start()
        sip.run(10)                     # serves for ten seconds; or poll sip.fileno() and call sip.process()
        print(sip.query("calls"))

The instance is driven: it has no worker threads, all SIP happens inside process(), run() and stop(), on the thread that calls
them. So do all callbacks, but for log lines, some of which come from the thread that loads scripts. A callback must not call the instance.
"""

import ctypes
import json
import os
import select
import time

ABI_MAJOR, ABI_MINOR = 1, 1
ABI = ABI_MAJOR << 16 | ABI_MINOR
LEVELS = ("error", "warn", "info", "debug")
DRIVEN = 1

_log_fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t)
_metric_fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64)
_stop_wanted_fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_event_fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t)
_reload_fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p)
_text_fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t)
_call = ctypes.CFUNCTYPE  # results are 0 or a negative errno


class _Host(ctypes.Structure):
    _fields_ = [
        ("abi", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("ctx", ctypes.c_void_p),
        ("log", _log_fn),
        ("metric", _metric_fn),
        ("stop_wanted", _stop_wanted_fn),
        ("event", _event_fn),
    ]


class _Option(ctypes.Structure):
    _fields_ = [("key", ctypes.c_char_p), ("value", ctypes.c_char_p)]


class _Case(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("line", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("failure", ctypes.c_char_p),
        ("details", ctypes.c_char_p),
        ("seconds", ctypes.c_double),
        ("real_us", ctypes.c_uint64),
        ("skipped", ctypes.c_int),
    ]


_result_fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_Case))


class _Test(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("file", ctypes.c_char_p),
        ("filter", ctypes.c_char_p),
        ("seed", ctypes.c_uint64),
        ("loss", ctypes.c_double),
        ("result", _result_fn),
        ("print", ctypes.c_void_p),
        ("ctx", ctypes.c_void_p),
    ]


_p, _int, _i64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64


class _Api(ctypes.Structure):
    _fields_ = [
        ("abi", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("version", ctypes.c_char_p),
        ("features", ctypes.c_uint64),
        ("create", _call(_int, ctypes.POINTER(_p), ctypes.POINTER(_Host), ctypes.POINTER(_Option), ctypes.c_size_t)),
        ("start", _call(_int, _p, _int)),
        ("fd", _call(_int, _p)),
        ("process", _call(_int, _p, ctypes.POINTER(_i64))),
        ("reload", _call(_int, _p, _reload_fn, _p)),
        ("query", _call(_int, _p, ctypes.c_char_p, _text_fn, _p)),
        ("hangup", _call(_int, _p, ctypes.c_char_p)),
        ("stop", _call(_int, _p, _i64)),
        ("destroy", _call(None, _p)),
        ("check", _call(_int, ctypes.POINTER(_Option), ctypes.c_size_t)),
        ("last_error", _call(ctypes.c_char_p, _p)),
        ("test", _call(_int, ctypes.POINTER(_Test), ctypes.c_char_p, ctypes.c_size_t)),
        ("drain", _call(_int, _p, _i64)),
    ]


class Error(Exception):
    """code is a negative errno."""

    def __init__(self, code, words):
        super().__init__(words or os.strerror(-code))
        self.code = code


def find_object():
    """$SIPHOOK_SO, else the build folder of this checkout, else where `make install` puts it."""
    here = os.path.dirname(os.path.abspath(__file__))
    places = [
        os.environ.get("SIPHOOK_SO"),
        os.path.join(here, "../../../build/siphook.so"),
        "/usr/local/lib/siphook/siphook.so",
        "/usr/lib/siphook/siphook.so",
    ]
    for place in places:
        if place and os.path.exists(place):
            return place
    raise Error(-2, "siphook.so was not found; set SIPHOOK_SO to its path")


def load(path=None):
    """The table of functions of an object, once for each path."""
    path = os.path.realpath(path or find_object())
    if path not in load.known:
        entry = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_LOCAL).siphook_entry
        entry.restype = ctypes.POINTER(_Api)
        entry.argtypes = [ctypes.c_uint32]
        table = entry(ABI)
        if not table or table.contents.size < ctypes.sizeof(_Api):
            raise Error(-95, "%s has another version of the host interface" % path)
        load.known[path] = table.contents
    return load.known[path]


load.known = {}


def _options(script, listen, options, config):
    pairs = [("script", script)] + [("listen", uri) for uri in listen]
    pairs += [(key, str(value)) for key, value in (options or {}).items()]
    pairs += [("config." + key, str(value)) for key, value in (config or {}).items()]
    array = (_Option * len(pairs))()
    for i, (key, value) in enumerate(pairs):
        array[i] = _Option(key.encode(), os.fsencode(value))
    return array


def check(script, listen=(), options=None, config=None, so=None):
    """Raises Error with "file:line: reason" when the script or an option is wrong; opens nothing."""
    api = load(so)
    array = _options(script, listen, options, config)
    code = api.check(array, len(array))
    if code < 0:
        raise Error(code, api.last_error(None).decode())


def run_tests(file, filter=None, seed=1, loss=0.0, so=None):
    """Runs the cases of a test file of a dial plan on a virtual network and clock, as `siphook test` does: a list of (name, failure), failure
    None for a case that passed, a text with the ladder of the call for one that did not; skipped ones are left out. Raises Error when the
    file itself is wrong."""
    cases = []

    def result(ctx, case):
        c = case.contents
        if not c.skipped:
            texts = [text.decode() for text in (c.failure, c.details) if text]
            cases.append((c.name.decode(), "\n".join(texts) if texts else None))

    error = ctypes.create_string_buffer(1024)
    test = _Test(ctypes.sizeof(_Test), os.fsencode(file), filter.encode() if filter else None, seed, loss, _result_fn(result), None, None)
    code = load(so).test(ctypes.byref(test), error, len(error))
    if code < 0:
        raise Error(code, error.value.decode())
    return cases


class Siphook:
    """One instance. log(level, line), event(name, dict) and metric(name, value) are optional callables."""

    def __init__(self, script, listen=(), options=None, config=None, log=None, event=None, metric=None, so=None):
        self._instance = None
        self._api = load(so)
        self._pending = []
        self._reloads = {}
        self.version = self._api.version.decode()
        # These objects must live as long as the instance: C holds pointers to them.
        self._host = _Host(
            ABI,
            ctypes.sizeof(_Host),
            None,
            _log_fn(lambda ctx, level, line, n: log(LEVELS[level], line[:n].decode(errors="replace"))) if log else _log_fn(),
            _metric_fn(lambda ctx, name, value: metric(name.decode(), value)) if metric else _metric_fn(),
            _stop_wanted_fn(),
            _event_fn(lambda ctx, name, text, n: event(name.decode(), json.loads(text[:n]))) if event else _event_fn(),
        )
        self._on_reload = _reload_fn(self._reloaded)
        array = _options(script, listen, options, config)
        instance = _p()
        code = self._api.create(ctypes.byref(instance), ctypes.byref(self._host), array, len(array))
        if code < 0:
            raise Error(code, self._api.last_error(None).decode())
        self._instance = instance

    def _must(self, code):
        if code < 0:
            words = self._api.last_error(self._instance)
            raise Error(code, words.decode() if words else None)
        return code

    def start(self):
        self._must(self._api.start(self._instance, DRIVEN))
        return self

    def fileno(self):
        """Poll it for reading; then call process(). Timers make it readable too."""
        return self._must(self._api.fd(self._instance))

    def process(self):
        self._must(self._api.process(self._instance, None))

    def run(self, seconds, until=None):
        """Serves for some time, or until until() is true. Returns whether it was."""
        end = time.monotonic() + seconds
        while True:
            if until and until():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            select.select([self], [], [], min(left, 0.05) if until else left)
            self.process()

    def _reloaded(self, key, generation, error):
        self._reloads.pop(key)(generation, error.decode() if error else None)

    def reload(self, done):
        """Returns at once; done(generation, error) is called from process(): a number and None, or 0 and "file:line: reason"."""
        key = max(self._reloads, default=0) + 1
        self._reloads[key] = done
        code = self._api.reload(self._instance, self._on_reload, key)
        if code < 0:
            del self._reloads[key]
            raise Error(code, None)

    def query(self, what):
        """"status", "calls", "registrations": Python objects; "metrics": text."""
        got = []
        code = self._api.query(self._instance, what.encode(), _text_fn(lambda ctx, text, n: got.append(text[:n])), None)
        if code < 0:
            raise Error(code, None)
        return got[0].decode() if what == "metrics" else json.loads(got[0])

    def hangup(self, call_id):
        code = self._api.hangup(self._instance, call_id.encode())
        if code < 0:
            raise Error(code, None)

    def drain(self, seconds=0):
        code = self._api.drain(self._instance, int(seconds * 1000))
        if code < 0:
            raise Error(code, None)

    def stop(self, seconds=5):
        self._must(self._api.stop(self._instance, int(seconds * 1000)))

    def close(self):
        if self._instance:
            self._api.destroy(self._instance)
            self._instance = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
