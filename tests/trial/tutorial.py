#!/usr/bin/env python3
"""Runs a page of the documentation: tutorial.py BUILD_FOLDER PAGE [ROOT].

A block "```lua NAME" is written to the file NAME; in a block "```console" the lines behind "$ " are typed in a shell, and the lines below
them must come back in that order, each as a part of a line. A command that ends with & goes on in the background. Everything happens in a
folder of its own, and in a network of its own where that is allowed. With ROOT it looks like the folder of the sources: examples, module, and the
build folder as "build".
"""
import os
import re
import subprocess
import sys
import tempfile
import time


def blocks(page):
    for match in re.finditer(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", page, re.M | re.S):
        yield match.group(1), match.group(2), match.group(3)


def commands(text):
    """[(command, [expected line])] of a console block."""
    out = []
    for line in text.splitlines():
        if line.startswith("$ "):
            out.append((line[2:], []))
        elif line.strip():
            out[-1][1].append(re.sub(r"\s+", " ", line.strip()))
    return out


def missing(wanted, text):
    """The first wanted line that does not come, in order; None: all came."""
    lines = [re.sub(r"\s+", " ", line) for line in text.splitlines()]
    at = 0
    for want in wanted:
        while at < len(lines) and want not in lines[at]:
            at += 1
        if at == len(lines):
            return want
        at += 1
    return None


def run(command, wanted, folder, env, background):
    if command.endswith("&"):
        log = open(os.path.join(folder, "background.log"), "w+")
        process = subprocess.Popen(["sh", "-c", "exec " + command[:-1]], cwd=folder, env=env, stdout=log, stderr=log)
        background.append(process)
        text = ""
        for _ in range(200):
            with open(log.name) as f:
                text = f.read()
            if missing(wanted, text) is None or process.poll() is not None:
                break
            time.sleep(0.05)
    else:
        done = subprocess.run(["sh", "-c", command], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        text = done.stdout
    want = missing(wanted, text)
    if want is None:
        return True
    print(f"$ {command}\n{text}\nthis line did not come: {want}")
    return False


def main():
    build, page = os.path.realpath(sys.argv[1]), sys.argv[2]
    with open(page) as f:
        text = f.read()
    env = dict(os.environ, PATH=build + ":" + os.environ["PATH"])
    background, typed, good = [], 0, True
    with tempfile.TemporaryDirectory() as folder:
        env["XDG_RUNTIME_DIR"] = folder
        for name, target in [(n, os.path.realpath(os.path.join(r, n))) for r in sys.argv[3:] for n in ("examples", "module")] + [("build", build)]:
            os.symlink(target, os.path.join(folder, name))
        try:
            for kind, name, body in blocks(text):
                if kind == "lua" and name:
                    with open(os.path.join(folder, name), "w") as f:
                        f.write(body)
                elif kind == "console":
                    for command, wanted in commands(body):
                        typed += 1
                        good = run(command, wanted, folder, env, background) and good
        finally:
            for process in background:
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    print("a command in the background does not end")
                    good = False
    if typed == 0:
        print(f"{page}: nothing was typed")
        good = False
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
