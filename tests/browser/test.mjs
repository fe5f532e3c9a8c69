// JsSIP and SIP.js in Chromium call each other through siphook, over secure WebSocket; audio is counted at both ends. One of them
// calls baresip on UDP.
import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";
import { end, HOST, must, pages, Server, sleep, test, until } from "./house.mjs";
import { baresip } from "./baresip.mjs";

const WSS = `wss://${HOST}:7443/sip`, WS = `ws://${HOST}:7080/sip`; // browsers refuse 5060 and 5061;
const passwords = { alice: "wonder", bob: "builder", carol: "singer", dave: "driver" };

const plan = readFileSync("plan.lua", "utf8");
const server = new Server(process.argv[2], plan);
const web = await pages("bundle.js");
const browser = await chromium.launch({
	executablePath: "/usr/bin/chromium",
	args: ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--ignore-certificate-errors",
		"--autoplay-policy=no-user-gesture-required", "--disable-features=WebRtcHideLocalIpsWithMdns", "--allow-loopback-in-peer-connection"],
});

class Phone {
	static async open(kind, user, address = WSS) {
		const p = new Phone();
		p.user = user;
		p.page = await browser.newPage({ ignoreHTTPSErrors: true });
		p.page.on("pageerror", (e) => console.log(`# ${user}: ${e.message}`));
		p.page.on("console", (m) => (process.env.V || ["error", "warning"].includes(m.type())) && console.log(`# ${user}: ${m.text()}`));
		await p.page.goto(`http://127.0.0.1:${web.address().port}/`);
		await p.page.evaluate(([k, o]) => window.test.make(k, o), [kind, { user, password: passwords[user], domain: "example.org", server: address }]);
		return p;
	}
	tell(...what) { return this.page.evaluate((w) => window.test.tell(...w), what); }
	async expect(name, seconds) {
		try {
			return await this.page.evaluate(([n, s]) => window.test.expect(n, s), [name, seconds]);
		} catch (e) {
			throw new Error(`${this.user}: ${e.message.split("\n")[0]}`);
		}
	}
	packets() { return this.page.evaluate(() => window.test.packets()); }
	async register() {
		await this.tell("start");
		await this.expect("registered");
	}
}

// Both hear each other: 50 packets a second and direction, counted over a second and a half.
async function talk(...phones) {
	const before = await Promise.all(phones.map((p) => p.packets()));
	await sleep(1500);
	const after = await Promise.all(phones.map((p) => p.packets()));
	phones.forEach((p, i) => {
		const sent = after[i].sent - before[i].sent, received = after[i].received - before[i].received;
		must(sent >= 50 && received >= 50, `${p.user} talks and hears: ${sent} packets sent, ${received} received`);
		console.log(`# ${p.user} sent ${sent} and received ${received} packets`);
	});
}

async function connect(caller, callee) {
	await caller.tell("call", callee.user);
	must(await callee.expect("incoming") === caller.user, `${caller.user} is who calls`);
	await caller.expect("progress");
	await callee.tell("answer");
	await Promise.all([caller.expect("up"), callee.expect("up")]);
}

async function finish(who, other) {
	await who.tell("hangup");
	await Promise.all([who.expect("ended"), other.expect("ended")]);
	await server.idle();
}

let alice, bob, carol;

await test("JsSIP and SIP.js register over secure WebSocket", async () => {
	await until("siphook listens", () => server.said.includes("listening on"));
	[alice, bob, carol] = await Promise.all([Phone.open("jssip", "alice"), Phone.open("sipjs", "bob"), Phone.open("sipjs", "carol")]);
	await Promise.all([alice, bob, carol].map((p) => p.register()));
	const bound = server.ask("registrations");
	must(bound.length === 3 && bound.every((b) => JSON.stringify(b).includes(".invalid")), `three are registered: ${JSON.stringify(bound)}`);
});

await test("JsSIP calls SIP.js, and they hear each other", async () => {
	await connect(alice, bob);
	await talk(alice, bob);
});

await test("a reload of the script in mid-call disturbs nothing", async () => {
	const { writeFileSync } = await import("node:fs");
	writeFileSync(server.script, plan.replace("by plan %d: %s calls %s over %s\", 1", "by plan %d: %s calls %s over %s\", 2"));
	must(JSON.parse(server.command("reload")).generation === 2, "a new generation");
	must(JSON.parse(server.command("reload", "--tls")).ok, "the certificates are read again");
	await talk(alice, bob);
});

await test("hold and resume, from either side", async () => {
	for (const [holder, held] of [[alice, bob], [bob, alice]]) {
		await holder.tell("hold", true);
		await held.expect("held");
		const before = await holder.packets();
		await sleep(600);
		const during = await holder.packets(); // who holds may send music, and is sent nothing
		must(during.received - before.received < 10, `${held.user} sends nothing while it is held`);
		await holder.tell("hold", false);
		await held.expect("unheld");
		await talk(alice, bob);
	}
});

await test("INFO and MESSAGE pass in both directions", async () => {
	await alice.tell("dtmf", "5");
	must(await bob.expect("dtmf") === "5", "bob gets the tone");
	await bob.tell("dtmf", "7");
	must(await alice.expect("dtmf") === "7", "alice gets the tone");
	await alice.tell("info", "what alice says");
	must(await bob.expect("info") === "what alice says", "bob gets the INFO");
	await bob.tell("message", "alice", "grüße");
	must(await alice.expect("message") === "grüße", "alice gets the message");
	await alice.tell("message", "bob", "thanks ☺");
	must(await bob.expect("message") === "thanks ☺", "bob gets the message");
});

await test("the callee hangs up", () => finish(bob, alice));

await test("SIP.js calls JsSIP by the new script, and the caller hangs up", async () => {
	await connect(bob, alice);
	await talk(bob, alice);
	must(server.said.includes("answered by plan 2: bob calls alice over wss"), "the new script routes");
	await finish(bob, alice);
});

await test("a caller gives up while it rings, and a callee declines", async () => {
	await alice.tell("call", "bob");
	await bob.expect("incoming");
	await alice.expect("progress");
	await alice.tell("hangup");
	await Promise.all([alice.expect("failed"), bob.expect("failed")]);
	await bob.tell("call", "alice");
	await alice.expect("incoming");
	await alice.tell("hangup");
	await Promise.all([alice.expect("failed"), bob.expect("failed")]);
	await server.idle();
});

for (const [kind, giver] of [["SIP.js", "bob"], ["JsSIP", "alice"]]) {
	await test(`${kind} transfers its call to a third`, async () => {
		const [who, other] = giver === "bob" ? [bob, alice] : [alice, bob];
		await connect(other, who);
		await talk(other, who);
		await who.tell("transfer", "carol");
		await carol.expect("incoming");
		await carol.tell("answer");
		await carol.expect("up");
		await who.expect("transferred");
		await who.expect("ended");
		await talk(other, carol);
		await finish(carol, other);
	});
}

// JsSIP throws when it answers an INVITE without an offer: it is offered what the one who stays said last, and asked anew.
await test("a call is transferred to JsSIP", async () => {
	await connect(carol, bob);
	await talk(carol, bob);
	await bob.tell("transfer", "alice");
	await alice.expect("incoming");
	await alice.tell("answer");
	await alice.expect("up");
	await bob.expect("transferred");
	await bob.expect("ended");
	await talk(carol, alice);
	await finish(alice, carol);
});

// Click to dial: the first party is called before there is anybody to talk to.
for (const [kind, first, second] of [["JsSIP", "alice", "bob"], ["SIP.js", "bob", "alice"]]) {
	await test(`a call of our own, ${kind} first`, async () => {
		const [one, other] = first === "alice" ? [alice, bob] : [bob, alice];
		await one.tell("message", "connect", second);
		for (const p of [one, other]) {
			await p.expect("incoming");
			await p.tell("answer");
			await p.expect("up");
		}
		for (let i = 0; i < 60 && !((await one.packets()).received && (await other.packets()).received); i++) await sleep(50); // each is asked anew
		await talk(one, other);
		await finish(one, other);
	});
}

await test("a call over WebSocket without TLS", async () => {
	const dave = await Phone.open("sipjs", "dave", WS);
	await dave.register();
	await connect(dave, carol);
	await talk(dave, carol);
	must(server.said.includes("dave calls carol over ws\n"), "it came over ws");
	await finish(dave, carol);
	await dave.tell("stop");
	await until("dave is gone", () => server.ask("registrations").length === 3);
});

await baresip(server, alice);

await test("a browser that is closed loses its binding at once, and calls to it fail fast", async () => {
	await carol.page.close();
	await bob.tell("call", "carol");
	await bob.expect("failed", 5);
	await server.idle();
});

await test("the phones leave, and so does siphook", async () => {
	await alice.tell("stop");
	await bob.tell("stop");
	await until("nobody is registered", () => server.ask("registrations").filter((b) => !JSON.stringify(b).includes("carol")).length === 0);
	server.child.kill("SIGTERM");
	must(await server.ended === 0, "siphook ends with 0");
});

await browser.close();
await end();
