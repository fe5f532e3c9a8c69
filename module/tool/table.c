/* Draws any answer: members of an object one to a line, a list of objects as a table whose columns are their members
 * in the order in which they first appear. The server may add members; nothing here knows their names. */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { COLUMNS = 32 };

/* Names come from the network: nothing may reach the terminal that it would obey (C0, DEL and C1 controls). */
static char *printable(const char *text, size_t len)
{
	char *clean = text_format("%.*s", (int)len, text);

	for (unsigned char *p = (unsigned char *)clean; *p; p++) {
		if (*p < 0x20 || *p == 0x7f) {
			*p = '?';
		} else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
			*p++ = '?';
			*p = '?';
		}
	}
	return clean;
}

static char *cell_text(const json_t *value)
{
	char *dump, *text;

	if (json_is_string(value))
		return printable(json_string_value(value), json_string_length(value));
	if (json_is_integer(value))
		return text_format("%lld", (long long)json_integer_value(value));
	if (json_is_real(value))
		return text_format("%.10g", json_real_value(value));
	if (json_is_boolean(value))
		return text_format("%s", json_is_true(value) ? "yes" : "no");
	if (!value || json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0))
		return text_format("-");
	dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	text = dump ? printable(dump, strlen(dump)) : text_format("?");
	free(dump);
	return text;
}

/* Characters, not octets. */
static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void pad(size_t n)
{
	while (n-- > 0)
		putchar(' ');
}

static bool is_list_of_objects(const json_t *value)
{
	return json_array_size(value) > 0 && json_is_object(json_array_get(value, 0));
}

static size_t collect_columns(const json_t *rows, const char **names)
{
	size_t count = 0, i;
	json_t *row, *value;
	const char *key;

	json_array_foreach((json_t *)rows, i, row)
	{
		json_object_foreach(row, key, value)
		{
			size_t j = 0;

			while (j < count && strcmp(names[j], key) != 0)
				j++;
			if (j == count && count < COLUMNS)
				names[count++] = key;
		}
	}
	return count;
}

static void print_rows(const json_t *rows, size_t indent)
{
	const char *names[COLUMNS];
	size_t widths[COLUMNS], columns = collect_columns(rows, names), i;
	json_t *row;

	for (size_t j = 0; j < columns; j++) {
		widths[j] = width(names[j]);
		json_array_foreach(rows, i, row)
		{
			char *text = cell_text(json_object_get(row, names[j]));

			if (width(text) > widths[j])
				widths[j] = width(text);
			free(text);
		}
	}
	for (size_t line = 0; line <= json_array_size(rows); line++) {
		pad(indent);
		for (size_t j = 0; j < columns; j++) {
			char *text = line == 0 ? printable(names[j], strlen(names[j]))
					       : cell_text(json_object_get(json_array_get(rows, line - 1), names[j]));

			fputs(text, stdout);
			if (j + 1 < columns)
				pad(widths[j] - width(text) + 2);
			free(text);
		}
		putchar('\n');
	}
}

static void print_members(const json_t *object, size_t indent)
{
	size_t widest = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		if (width(key) > widest)
			widest = width(key);
	}
	json_object_foreach((json_t *)object, key, value)
	{
		char *name = printable(key, strlen(key));

		pad(indent);
		fputs(name, stdout);
		if (json_object_size(value) > 0) {
			putchar('\n');
			print_members(value, indent + 2);
		} else if (is_list_of_objects(value)) {
			putchar('\n');
			print_rows(value, indent + 2);
		} else {
			pad(widest - width(name) + 2);
			if (json_is_array(value)) {
				size_t i;
				json_t *item;

				json_array_foreach(value, i, item)
				{
					char *text = cell_text(item);

					printf("%s%s", i ? ", " : "", text);
					free(text);
				}
				if (json_array_size(value) == 0)
					putchar('-');
			} else {
				char *text = cell_text(value);

				fputs(text, stdout);
				free(text);
			}
			putchar('\n');
		}
		free(name);
	}
}

void table_print(const struct json_t *value, const char *what)
{
	/* {"calls":[...]} is its list. */
	if (json_is_object(value) && json_object_size(value) == 1) {
		json_t *only = json_object_iter_value(json_object_iter((json_t *)value));

		if (json_is_array(only))
			value = only;
	}
	if (json_is_array(value) && json_array_size(value) == 0) {
		printf("no %s\n", what);
	} else if (is_list_of_objects(value)) {
		print_rows(value, 0);
	} else if (json_is_object(value)) {
		print_members(value, 0);
	} else {
		char *text = cell_text(value);

		puts(text);
		free(text);
	}
}
