// What the tests share: programs that are started and ended, siphook among them, and the sum of the tests.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync, openSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const HOST = "10.77.0.1";
export const folder = mkdtempSync(join(tmpdir(), "siphook-browser-"));
const programs = [];

export function must(condition, what) {
	if (!condition) throw new Error(`it must hold that ${what}`);
}

export const sleep = (ms) => new Promise((f) => setTimeout(f, ms));

export async function until(what, condition, seconds = 10) {
	const end = Date.now() + 1000 * seconds;
	for (;;) {
		const value = await condition();
		if (value) return value;
		if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
		await sleep(20);
	}
}

export class Program {
	constructor(name, command, args, options = {}) {
		this.log = join(folder, `${name}.log`);
		const fd = openSync(this.log, "w");
		this.child = spawn(command, args, { stdio: [options.input ? "pipe" : "ignore", fd, fd], ...options });
		this.ended = new Promise((f) => this.child.on("exit", (code, signal) => { this.code = signal ?? code; f(this.code); }));
		programs.push(this);
	}
	get said() { return readFileSync(this.log, "utf8"); }
	get running() { return this.code === undefined; }
}

export function certificate() {
	const path = join(folder, "cert.pem");
	execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
		"/CN=example.org", "-addext", `subjectAltName=DNS:example.org,IP:${HOST}`, "-keyout", `${path}.key`, "-out", path], { stdio: "ignore" });
	writeFileSync(path, readFileSync(path, "utf8") + readFileSync(`${path}.key`, "utf8"));
	return path;
}

export class Server extends Program {
	constructor(siphook, plan) {
		const script = join(folder, "plan.lua"), control = join(folder, "control"), cert = certificate();
		writeFileSync(script, plan);
		super("siphook", siphook, ["run", "-s", control, "-l", `udp://${HOST}:5060`, "-l", `tcp://${HOST}:5060`, "-l", `ws://${HOST}:7080`,
			"-l", `tls://${HOST}:7443`, "-l", `wss://${HOST}:7443`, "-o", `tls_certificate=${cert}`, script]);
		Object.assign(this, { siphook, script, control, cert });
	}
	command(...args) { return execFileSync(this.siphook, [...args, "-s", this.control, "--json"], { encoding: "utf8" }); }
	ask(what) { return JSON.parse(this.command(what)); }
	async idle() { await until("no call is left", () => this.ask("calls").length === 0); }
}

export function pages(bundle) {
	const server = createServer((request, response) => {
		const script = request.url === "/bundle.js";
		response.writeHead(200, { "Content-Type": script ? "text/javascript" : "text/html" });
		response.end(script ? readFileSync(bundle) : "<!doctype html><meta charset=utf-8><script src=/bundle.js></script>");
	});
	return new Promise((f) => server.listen(0, "127.0.0.1", () => f(server)));
}

let passed = 0, failed = 0, over = false;

export async function test(name, fn) {
	const from = Date.now();
	if (over) return;
	try {
		await fn();
		passed++;
		console.log(`ok - ${name}  # ${((Date.now() - from) / 1000).toFixed(1)} s`);
	} catch (e) {
		failed++;
		over = true; // what follows builds on it
		console.log(`not ok - ${name}: ${e.message}`);
		for (const p of programs) console.log(`--- ${p.log}\n${p.said.split("\n").slice(-25).join("\n")}`);
	}
}

export async function end() {
	for (const p of programs) if (p.running) p.child.kill("SIGKILL");
	rmSync(folder, { recursive: true, force: true });
	console.log(`${passed} passed, ${failed} failed`);
	process.exit(failed ? 1 : 0);
}
