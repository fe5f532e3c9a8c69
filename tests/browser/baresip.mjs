// A browser and baresip on UDP: they agree (DTLS-SRTP and ICE are both sides' business), talk by signalling both ways, and end.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { folder, HOST, must, Program, test, until } from "./house.mjs";

const CONFIG = `poll_method epoll
sip_listen 0.0.0.0:5080
audio_player aubridge,null
audio_source aubridge,null
rtcp_mux yes
module_path /usr/lib/baresip/modules
module stdio.so
module g711.so
module aubridge.so
module ice.so
module dtls_srtp.so
module_tmp account.so
module_app contact.so
module_app menu.so
`;

export async function baresip(server, alice) {
	const home = join(folder, "baresip");
	let phone;
	const says = (what) => until(`baresip says "${what}"`, () => phone.said.includes(what));
	const types = (line) => phone.child.stdin.write(`${line}\n`);

	await test("baresip registers on UDP", async () => {
		mkdirSync(home);
		writeFileSync(join(home, "config"), CONFIG);
		writeFileSync(join(home, "accounts"),
			`<sip:dave@${HOST}:5060;transport=udp>;auth_user=dave;auth_pass=driver;regint=300;` +
			`answermode=auto;audio_codecs=pcmu;medianat=ice;mediaenc=dtls_srtp\n`);
		writeFileSync(join(home, "contacts"), `"Alice" <sip:alice@${HOST}:5060>\n`); // whom its command "message" writes to
		phone = new Program("baresip", "baresip", ["-4", "-f", home], { input: true });
		await says("200 OK");
	});

	await test("a browser calls baresip on UDP, which answers and hangs up", async () => {
		await alice.tell("call", "dave");
		await alice.expect("up");
		await says("Call established");
		await alice.tell("dtmf", "5"); // as INFO; of other bodies baresip knows nothing
		await says("received DTMF: '5'");
		types("/hangup");
		await alice.expect("ended");
		await server.idle();
	});

	await test("baresip calls a browser, which answers and hangs up", async () => {
		types(`/dial sip:alice@${HOST}:5060`);
		must(await alice.expect("incoming") === "dave", "dave is who calls");
		await alice.tell("answer");
		await alice.expect("up");
		await alice.tell("hangup");
		await alice.expect("ended");
		await server.idle();
	});

	await test("MESSAGE passes between a browser and baresip", async () => {
		await alice.tell("message", "dave", "hello, old phone");
		await says("hello, old phone");
		types("/message hello, young one");
		must(await alice.expect("message") === "hello, young one", "alice gets it");
		types("/quit");
		must(await phone.ended === 0, "baresip ends well");
	});
}
