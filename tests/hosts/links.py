"""Every relative link of a page leads to a file, and to a heading of it where it names one; in the tree, and in what `make install`
installs. Every option and every dial plan stands in its lists, and what a dial plan says of `-o` is right: links.py ROOT_OF_THE_TREE"""
import os
import re
import subprocess
import sys
import tempfile

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def read(path):
    with open(path) as f:
        return f.read()


def text_of(path):
    """Without code, in which a bracket before a parenthesis is no link."""
    text = re.sub(r"^(```|~~~).*?^\1", "", read(path), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "`", text)


def anchors(path):
    """As the usual renderers make them of headings, and what is named by hand."""
    text = re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S)
    found, seen = set(re.findall(r'<a (?:id|name)="([^"]+)"', text)), {}
    for heading in re.findall(r"^#+ +(.*?) *#*$", text, flags=re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        n = seen[name] = seen.get(name, -1) + 1
        found.add(f"{name}-{n}" if n else name)
    return found


def broken(page, at):
    for link in LINK.finditer(text_of(page)):
        link = link[1] or link[2]
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(at, path)) if path else page
        # As a browser goes, by the name, and as the kernel does, which follows the links of folders first.
        if not os.path.exists(target) or not os.path.exists(os.path.join(os.path.realpath(at), path)):
            yield f"{page}: {link}: there is no such file"
        elif anchor and target.endswith(".md") and anchor not in anchors(target):
            yield f"{page}: {link}: there is no such heading"


def pages(top, **walk):
    for folder, _, files in os.walk(top, **walk):
        yield from (os.path.join(folder, f) for f in sorted(files) if f.endswith(".md"))


root = os.path.realpath(sys.argv[1])
listed = subprocess.run(["git", "-C", root, "ls-files", "*.md"], capture_output=True, text=True)
tree = [os.path.join(root, name) for name in listed.stdout.split()] or \
    [p for p in pages(root) if not os.path.relpath(p, root).startswith(("build", "."))]
options = re.findall(r'^    {"(\w+)", set_', read(os.path.join(root, "module/options.c")), re.M)
plans = [p for p in os.listdir(os.path.join(root, "examples/dialplans")) if p.endswith(".lua") and not p.endswith("_test.lua")]
lists = (("packaging/siphook.conf.5", options), ("docs/host-abi.md", options), ("examples/dialplans/README.md", plans))
wrong = [f"{page}: {name} is missing" for page, names in lists for name in names
         if not re.search(rf"(?<![a-z_]){re.escape(name)}(?![a-z_])", read(os.path.join(root, page)))]
wrong += [f"{plan}: -o {name}: there is no such option" for plan in plans
          for name in re.findall(r"`-o ([\w.]+)=", read(os.path.join(root, "examples/dialplans", plan)))
          if name not in options and not name.startswith("config.")]
assert len(options) > 10 and len(plans) > 10
wrong += [w for page in tree for w in broken(page, os.path.dirname(page))]
count = len(tree)
with tempfile.TemporaryDirectory() as stage:
    make = ["make", "-C", root, "--no-print-directory", f"DESTDIR={stage}", "PREFIX=/usr"]
    subprocess.run([*make, "install"], check=True, stdout=subprocess.DEVNULL)
    share = os.path.join(stage, "usr/share")
    installed = {os.path.relpath(p, share) for p in pages(share, followlinks=True)}
    for name in ("doc/siphook/README.md", "doc/siphook/docs/lua/calls.md", "doc/siphook/examples/hosts/nginx/README.md",
                 "siphook/examples/hosts/nginx/README.md", "siphook/docs/hosts.md"):
        assert name in installed, name
    assert os.path.isfile(os.path.join(share, "siphook/examples/dialplans/office.lua"))
    for name in sorted(installed):
        page = os.path.join(share, name)
        wrong += broken(page, os.path.dirname(page))
    count += len(installed)
    subprocess.run([*make, "uninstall"], check=True, stdout=subprocess.DEVNULL)
    wrong += [f"left by make uninstall: {os.path.join(folder, f)}" for folder, _, files in os.walk(stage) for f in files]
print("\n".join(wrong) or f"{count} pages")
sys.exit(bool(wrong))
