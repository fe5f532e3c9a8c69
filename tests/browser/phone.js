// The page: a phone made of JsSIP or SIP.js, behind one interface that the test calls. Runs in the browser.
import JsSIP from "jssip";
import { Inviter, Registerer, SessionState, UserAgent, Web } from "sip.js";

const events = [];
const waiters = [];

function happen(name, detail = "") {
	events.push({ name, detail: String(detail) });
	for (const w of waiters.splice(0)) w();
}

// The next event of that name; those before it are dropped.
async function expect(name, seconds = 10) {
	const end = performance.now() + 1000 * seconds;
	for (;;) {
		const i = events.findIndex((e) => e.name === name);
		if (i >= 0) return events.splice(0, i + 1).pop().detail;
		const left = end - performance.now();
		if (left <= 0) throw new Error(`no "${name}" within ${seconds} s; heard: ${JSON.stringify(events)}`);
		await Promise.race([new Promise((f) => waiters.push(f)), new Promise((f) => setTimeout(f, left))]);
	}
}

const media = { audio: true, video: false };

class JsSipPhone {
	constructor({ user, password, domain, server }) {
		this.domain = domain;
		this.ua = new JsSIP.UA({
			sockets: [new JsSIP.WebSocketInterface(server)],
			uri: `sip:${user}@${domain}`,
			password,
			session_timers: false,
			register_expires: 120,
		});
		this.ua.on("registered", () => happen("registered"));
		this.ua.on("unregistered", () => happen("unregistered"));
		this.ua.on("registrationFailed", (e) => happen("registration failed", e.cause));
		this.ua.on("disconnected", () => happen("disconnected"));
		this.ua.on("newRTCSession", ({ originator, session }) => this.watch(originator, session));
		this.ua.on("newMessage", ({ originator, request }) => originator === "remote" && happen("message", request.body));
	}
	watch(originator, s) {
		this.session = s;
		s.on("progress", () => happen("progress"));
		s.on("confirmed", () => happen("up"));
		s.on("ended", (e) => happen("ended", e.cause));
		s.on("failed", (e) => happen("failed", e.cause));
		s.on("newDTMF", (e) => e.originator === "remote" && happen("dtmf", e.dtmf.tone));
		s.on("newInfo", (e) => e.originator === "remote" && happen("info", e.info.body));
		s.on("hold", (e) => e.originator === "remote" && happen("held"));
		s.on("unhold", (e) => e.originator === "remote" && happen("unheld"));
		if (originator === "remote") happen("incoming", s.remote_identity.uri.user);
	}
	start() { this.ua.start(); }
	stop() { this.ua.stop(); }
	call(user) { this.ua.call(`sip:${user}@${this.domain}`, { mediaConstraints: media, pcConfig: {} }); }
	answer() { this.session.answer({ mediaConstraints: media, pcConfig: {} }); }
	hangup() { this.session.terminate(); }
	hold(on) { return new Promise((f) => (on ? this.session.hold({}, f) : this.session.unhold({}, f))); }
	dtmf(tone) { this.session.sendDTMF(tone, { transportType: "INFO" }); }
	info(body) { this.session.sendInfo("application/x-test", body); }
	message(user, text) { return new Promise((yes, no) => this.ua.sendMessage(`sip:${user}@${this.domain}`, text,
		{ eventHandlers: { succeeded: yes, failed: (e) => no(new Error(e.cause)) } })).then(() => true); }
	transfer(user) {
		this.session.refer(`sip:${user}@${this.domain}`, { eventHandlers: {
			accepted: () => happen("transferred"),
			failed: () => happen("transfer failed"),
			requestFailed: (e) => happen("transfer failed", e.cause),
		} });
	}
	get pc() { return this.session.connection; }
	reconnect() { this.ua.transport.socket._ws.close(); }
}

class SipJsPhone {
	constructor({ user, password, domain, server }) {
		this.domain = domain;
		this.ua = new UserAgent({
			uri: UserAgent.makeURI(`sip:${user}@${domain}`),
			transportOptions: { server, keepAliveInterval: 1, keepAliveDebounce: 0 },
			authorizationUsername: user,
			authorizationPassword: password,
			logLevel: "error",
			sessionDescriptionHandlerFactoryOptions: { iceGatheringTimeout: 500, peerConnectionConfiguration: {} },
			delegate: {
				onInvite: (invitation) => { this.watch(invitation); happen("incoming", invitation.remoteIdentity.uri.user); },
				onMessage: (m) => { happen("message", m.request.body); m.accept(); },
				onDisconnect: () => happen("disconnected"),
			},
		});
		this.registerer = new Registerer(this.ua, { expires: 120 });
		this.registerer.stateChange.addListener((s) => happen(s.toLowerCase()));
	}
	watch(s) {
		this.session = s;
		this.was = false;
		s.stateChange.addListener((state) => {
			if (state === SessionState.Established) { this.was = true; happen("up"); }
			if (state === SessionState.Terminated) happen(this.was ? "ended" : "failed");
		});
		s.delegate = {
			onInfo: (i) => {
				const tone = /Signal=\s*(.)/.exec(i.request.body);
				if (tone) happen("dtmf", tone[1]); else happen("info", i.request.body);
				i.accept();
			},
			onInvite: (request) => happen(/a=(sendonly|inactive)/.test(request.body) ? "held" : "unheld"),
		};
	}
	async start() { await this.ua.start(); await this.registerer.register(); }
	async stop() { await this.registerer.unregister(); await expect("unregistered"); await this.ua.stop(); }
	uri(user) { return UserAgent.makeURI(`sip:${user}@${this.domain}`); }
	async call(user) {
		const s = new Inviter(this.ua, this.uri(user), { sessionDescriptionHandlerOptions: { constraints: media } });
		this.watch(s);
		await s.invite({ requestDelegate: { onProgress: () => happen("progress") } });
	}
	answer() { return this.session.accept({ sessionDescriptionHandlerOptions: { constraints: media } }); }
	hangup() { return this.session.state === SessionState.Established ? this.session.bye() : this.session.cancel(); }
	hold(on) {
		return new Promise((yes, no) => this.session.invite({
			sessionDescriptionHandlerModifiers: on ? [Web.holdModifier] : [],
			requestDelegate: { onAccept: () => yes(true), onReject: () => no(new Error("the re-INVITE was rejected")) },
		}).catch(no));
	}
	info(body) { return this.session.info({ requestOptions: { body: { contentDisposition: "render", contentType: "application/x-test", content: body } } }).then(() => true); }
	dtmf(tone) {
		return this.session.info({ requestOptions: { body: {
			contentDisposition: "render", contentType: "application/dtmf-relay", content: `Signal=${tone}\r\nDuration=100` } } }).then(() => true);
	}
	message(user, text) {
		return new Promise((yes, no) => this.ua.userAgentCore.request(
			this.ua.userAgentCore.makeOutgoingRequestMessage("MESSAGE", this.uri(user), this.ua.configuration.uri, this.uri(user), {}, [],
				{ contentDisposition: "render", contentType: "text/plain", content: text }),
			{ onAccept: () => yes(true), onReject: (r) => no(new Error(r.message.reasonPhrase)) }));
	}
	async transfer(user) {
		await this.session.refer(this.uri(user), {
			requestDelegate: { onReject: (r) => happen("transfer failed", r.message.statusCode) },
			onNotify: (n) => {
				n.accept();
				const code = Number(/^SIP\/2.0 (\d+)/.exec(n.request.body)?.[1]);
				if (code >= 200) happen(code < 300 ? "transferred" : "transfer failed", code);
			},
		});
	}
	get pc() { return this.session.sessionDescriptionHandler.peerConnection; }
}

let phone;

// Packets of audio that the call in hand has sent and received so far.
async function packets() {
	const sum = { sent: 0, received: 0 };
	for (const s of (await phone.pc.getStats()).values()) {
		if (s.type === "outbound-rtp" && s.kind === "audio") sum.sent += s.packetsSent;
		if (s.type === "inbound-rtp" && s.kind === "audio") sum.received += s.packetsReceived;
	}
	return sum;
}

window.test = {
	make(kind, options) { phone = kind === "jssip" ? new JsSipPhone(options) : new SipJsPhone(options); },
	async tell(verb, ...args) { const r = await phone[verb](...args); return r === undefined || r === true ? null : String(r); },
	expect,
	packets,
	forget() { events.length = 0; },
};
