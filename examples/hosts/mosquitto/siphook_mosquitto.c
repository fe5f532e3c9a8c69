/* siphook in the mosquitto MQTT broker: calls become messages, and a topic controls them. See README.md.
 *
 * The broker's functions belong to its one thread, so what comes from the module's threads waits in a queue for the broker's
 * next tick, which is at most 100 ms away. SIP itself does not wait: it has threads of its own. */
#include "../adapter.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#pragma GCC visibility push(default) /* the three functions that the broker looks for */
#include <mosquitto_plugin.h>
#pragma GCC visibility pop

enum { EVENT = 100, REPLY, TOPIC_MAX = 256, STOP_MS = 5000 }; /* kinds of lines beside the log levels */

static struct plugin {
	mosquitto_plugin_id_t *id; /* NULL: not loaded */
	struct adapter siphook;
	struct adapter_queue queue;
	char prefix[TOPIC_MAX], control[TOPIC_MAX + 16];
} plugin;

/* ---------------------------------------------------------------- from the module's threads */

static void on_log(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	(void)ctx;
	adapter_queue_put(&plugin.queue, (int)level, NULL, line, len);
}

static void on_event(void *ctx, const char *name, const char *json, size_t len)
{
	(void)ctx;
	adapter_queue_put(&plugin.queue, EVENT, name, json, len);
}

static void on_reloaded(void *ctx, uint64_t generation, const char *error)
{
	char text[1200];
	int n;

	(void)ctx;
	if (error)
		n = snprintf(text, sizeof(text), "refused: %s", error);
	else
		n = snprintf(text, sizeof(text), "generation %llu", (unsigned long long)generation);
	adapter_queue_put(&plugin.queue, REPLY, NULL, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* ---------------------------------------------------------------- on the broker's thread */

static void write_log(int level, const char *line)
{
	static const int levels[] = {MOSQ_LOG_ERR, MOSQ_LOG_WARNING, MOSQ_LOG_INFO, MOSQ_LOG_DEBUG};

	mosquitto_log_printf(levels[level], "siphook: %s", line);
}

static void publish(const char *suffix, const char *text, size_t len)
{
	char topic[TOPIC_MAX + 64];

	snprintf(topic, sizeof(topic), "%s/%s", plugin.prefix, suffix);
	mosquitto_broker_publish_copy(NULL, topic, (int)len, text, 0, false, NULL);
}

/* "call.new" is published as PREFIX/call/new. */
static void publish_event(const char *name, const char *json)
{
	char suffix[64];

	snprintf(suffix, sizeof(suffix), "%s", name);
	for (char *p = suffix; *p; p++)
		if (*p == '.')
			*p = '/';
	publish(suffix, json, strlen(json));
}

static int on_tick(int event, void *data, void *user)
{
	size_t forgotten;
	struct adapter_line *line = adapter_queue_take(&plugin.queue, &forgotten), *next;

	(void)event;
	(void)data;
	(void)user;
	for (; line; line = next) {
		next = line->next;
		if (line->kind == EVENT)
			publish_event(line->text, line->text + strlen(line->text) + 1);
		else if (line->kind == REPLY)
			publish("reply", line->text, line->len);
		else
			write_log(line->kind, line->text);
		free(line);
	}
	if (forgotten)
		mosquitto_log_printf(MOSQ_LOG_WARNING, "siphook: %zu lines were lost: the broker was busy", forgotten);
	return MOSQ_ERR_SUCCESS;
}

static void on_text(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	publish("reply", text, len);
}

static void complain(const char *command, const char *words)
{
	char text[1400];

	snprintf(text, sizeof(text), "error: %.200s: %s", command, words);
	publish("reply", text, strlen(text));
}

/* After a start that failed a reload is another start. */
static int reload(void)
{
	if (plugin.siphook.instance)
		return plugin.siphook.sip->reload(plugin.siphook.instance, on_reloaded, NULL);
	if (adapter_start(&plugin.siphook, SIPHOOK_THREADS) == 0) {
		on_reloaded(NULL, 1, NULL);
	} else {
		mosquitto_log_printf(MOSQ_LOG_ERR, "siphook: %s", plugin.siphook.error);
		on_reloaded(NULL, 0, plugin.siphook.error);
	}
	return 0;
}

/* What PREFIX/control takes: reload, status, calls, registrations, metrics, hangup ID. */
static void control(const char *command)
{
	const struct adapter *a = &plugin.siphook;
	int err;

	if (strcmp(command, "reload") == 0) {
		err = reload();
	} else if (!a->instance) {
		complain(command, "siphook does not run; \"reload\" tries again");
		return;
	} else if (strncmp(command, "hangup ", 7) == 0) {
		err = a->sip->hangup(a->instance, command + 7);
		if (err == 0)
			publish("reply", "ok", 2);
	} else {
		err = a->sip->query(a->instance, command, on_text, NULL);
	}
	if (err < 0)
		complain(command, strerror(-err));
}

static int on_message(int event, void *data, void *user)
{
	struct mosquitto_evt_message *m = data;
	char command[256];

	(void)event;
	(void)user;
	if (strcmp(m->topic, plugin.control) != 0 || m->payloadlen >= sizeof(command))
		return MOSQ_ERR_SUCCESS;
	memcpy(command, m->payload, m->payloadlen);
	command[m->payloadlen] = '\0';
	control(command);
	return MOSQ_ERR_SUCCESS;
}

/* SIGHUP to the broker. */
static int on_reload(int event, void *data, void *user)
{
	(void)event;
	(void)data;
	(void)user;
	reload();
	return MOSQ_ERR_SUCCESS;
}

/* ---------------------------------------------------------------- life */

int mosquitto_plugin_version(int count, const int *versions)
{
	for (int i = 0; i < count; i++)
		if (versions[i] == 5)
			return 5;
	return -1;
}

/* plugin_opt_object and plugin_opt_topic are ours; every other plugin_opt_KEY is an option of siphook. The broker allows a key once,
 * so plugin_opt_listen has several URIs with spaces between them. All texts are kept as long as the broker lives. */
static void read_options(struct plugin *p, const struct mosquitto_opt *opts, int count)
{
	snprintf(p->prefix, sizeof(p->prefix), "siphook");
	for (int i = 0; i < count; i++) {
		char *key = strdup(opts[i].key), *value = strdup(opts[i].value);

		if (!key || !value)
			snprintf(p->siphook.options.complaint, sizeof(p->siphook.options.complaint), "out of memory");
		else if (strcmp(key, "object") == 0)
			p->siphook.object = value;
		else if (strcmp(key, "topic") == 0)
			snprintf(p->prefix, sizeof(p->prefix), "%s", value);
		else if (strcmp(key, "listen") == 0)
			adapter_add_listeners(&p->siphook.options, value);
		else
			adapter_add(&p->siphook.options, key, value);
	}
	snprintf(p->control, sizeof(p->control), "%s/control", p->prefix);
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **user, struct mosquitto_opt *opts, int count)
{
	static const int events[] = {MOSQ_EVT_TICK, MOSQ_EVT_MESSAGE, MOSQ_EVT_RELOAD};
	static const MOSQ_FUNC_generic_callback callbacks[] = {on_tick, on_message, on_reload};

	*user = NULL;
	if (plugin.id) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "siphook: it is loaded already; the second \"plugin\" line is passed over");
		return MOSQ_ERR_SUCCESS;
	}
	plugin.id = id;
	*user = &plugin;
	adapter_queue_init(&plugin.queue);
	plugin.siphook.host.log = on_log;
	plugin.siphook.host.event = on_event;
	read_options(&plugin, opts, count);
	if (adapter_start(&plugin.siphook, SIPHOOK_THREADS) < 0)
		mosquitto_log_printf(MOSQ_LOG_ERR, "siphook: %s; a reload tries again", plugin.siphook.error);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		mosquitto_callback_register(id, events[i], callbacks[i], NULL, NULL);
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *user, struct mosquitto_opt *opts, int count)
{
	(void)opts;
	(void)count;
	if (!user)
		return MOSQ_ERR_SUCCESS;
	adapter_stop(&plugin.siphook, STOP_MS);
	on_tick(MOSQ_EVT_TICK, NULL, NULL);
	return MOSQ_ERR_SUCCESS;
}
