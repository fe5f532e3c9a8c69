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
	mosquitto_plugin_id_t *id;
	const struct siphook_api *sip;
	struct siphook *instance;
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

/* What PREFIX/control takes: reload, status, calls, registrations, metrics, hangup ID. */
static void control(const char *command)
{
	char text[512];
	int err;

	if (strcmp(command, "reload") == 0)
		err = plugin.sip->reload(plugin.instance, on_reloaded, NULL);
	else if (strncmp(command, "hangup ", 7) == 0)
		err = plugin.sip->hangup(plugin.instance, command + 7);
	else
		err = plugin.sip->query(plugin.instance, command, on_text, NULL);
	if (err == 0 && strncmp(command, "hangup ", 7) == 0)
		publish("reply", "ok", 2);
	if (err < 0) {
		snprintf(text, sizeof(text), "error: %.200s: %s", command, strerror(-err));
		publish("reply", text, strlen(text));
	}
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
	plugin.sip->reload(plugin.instance, on_reloaded, NULL);
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
 * so plugin_opt_listen has several URIs with spaces between them. */
static const char *read_options(struct adapter_options *o, const struct mosquitto_opt *opts, int count)
{
	const char *object = NULL;

	snprintf(plugin.prefix, sizeof(plugin.prefix), "siphook");
	for (int i = 0; i < count; i++) {
		char *rest = opts[i].value, *uri;

		if (strcmp(opts[i].key, "object") == 0) {
			object = opts[i].value;
		} else if (strcmp(opts[i].key, "topic") == 0) {
			snprintf(plugin.prefix, sizeof(plugin.prefix), "%s", opts[i].value);
		} else if (strcmp(opts[i].key, "listen") == 0) {
			while ((uri = strtok_r(rest, " ", &rest)))
				adapter_add(o, "listen", uri);
		} else {
			adapter_add(o, opts[i].key, opts[i].value);
		}
	}
	snprintf(plugin.control, sizeof(plugin.control), "%s/control", plugin.prefix);
	return object;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **user, struct mosquitto_opt *opts, int count)
{
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host), .log = on_log, .event = on_event};
	static const int events[] = {MOSQ_EVT_TICK, MOSQ_EVT_MESSAGE, MOSQ_EVT_RELOAD};
	static const MOSQ_FUNC_generic_callback callbacks[] = {on_tick, on_message, on_reload};
	struct adapter_options options = {.count = 0};
	char error[512];
	const char *object = read_options(&options, opts, count);

	*user = NULL;
	plugin.id = id;
	adapter_queue_init(&plugin.queue);
	plugin.sip = adapter_load(object, error, sizeof(error));
	if (!plugin.sip) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "siphook: %s", error);
		return MOSQ_ERR_UNKNOWN;
	}
	if (plugin.sip->create(&plugin.instance, &host, options.list, options.count) < 0 ||
	    plugin.sip->start(plugin.instance, SIPHOOK_THREADS) < 0) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "siphook: %s", plugin.sip->last_error(plugin.instance));
		plugin.sip->destroy(plugin.instance);
		plugin.instance = NULL;
		return MOSQ_ERR_UNKNOWN;
	}
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		mosquitto_callback_register(id, events[i], callbacks[i], NULL, NULL);
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *user, struct mosquitto_opt *opts, int count)
{
	(void)user;
	(void)opts;
	(void)count;
	if (!plugin.instance)
		return MOSQ_ERR_SUCCESS;
	plugin.sip->stop(plugin.instance, STOP_MS);
	on_tick(MOSQ_EVT_TICK, NULL, NULL);
	plugin.sip->destroy(plugin.instance);
	plugin.instance = NULL;
	return MOSQ_ERR_SUCCESS;
}
