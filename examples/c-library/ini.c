/* SPDX-License-Identifier: Apache-2.0 */

#define _POSIX_C_SOURCE 200809L

#include "ini.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	char *section, *key, *value;
};

struct ini {
	struct entry *entries;
	size_t count, capacity;
};

/* A piece of the text. */
struct span {
	const char *start, *end;
};

static struct span trim(struct span s)
{
	while (s.start < s.end && (*s.start == ' ' || *s.start == '\t'))
		s.start++;
	while (s.start < s.end && (s.end[-1] == ' ' || s.end[-1] == '\t' || s.end[-1] == '\r'))
		s.end--;
	return s;
}

static char *copy(struct span s)
{
	size_t size = (size_t)(s.end - s.start);
	char *text = malloc(size + 1);

	if (text != NULL) {
		memcpy(text, s.start, size);
		text[size] = '\0';
	}
	return text;
}

/* Copies a value without its quotes. Returns NULL and a message when it is wrong. */
static char *unquote(struct span s, const char **message)
{
	char *text, *to;

	if (s.start == s.end || *s.start != '"') {
		text = copy(s);
		if (text == NULL)
			*message = "out of memory";
		return text;
	}
	text = to = malloc((size_t)(s.end - s.start) + 1);
	if (text == NULL) {
		*message = "out of memory";
		return NULL;
	}
	for (s.start++; s.start < s.end && *s.start != '"'; s.start++) {
		if (*s.start != '\\') {
			*to++ = *s.start;
			continue;
		}
		if (++s.start == s.end)
			break;
		switch (*s.start) {
		case 'n':
			*to++ = '\n';
			break;
		case 't':
			*to++ = '\t';
			break;
		case '"':
		case '\\':
			*to++ = *s.start;
			break;
		default:
			*message = "unknown escape";
			free(text);
			return NULL;
		}
	}
	if (s.start == s.end || s.start + 1 != s.end) {
		*message = s.start == s.end ? "missing closing quote" : "text after the closing quote";
		free(text);
		return NULL;
	}
	*to = '\0';
	return text;
}

static struct entry *find(const struct ini *ini, const char *section, const char *key)
{
	for (size_t i = 0; i < ini->count; i++) {
		struct entry *e = &ini->entries[i];

		if (strcmp(e->section, section) == 0 && strcmp(e->key, key) == 0)
			return e;
	}
	return NULL;
}

/* Takes over key and value. */
static const char *add(struct ini *ini, const char *section, char *key, char *value)
{
	struct entry *e = find(ini, section, key);
	char *name;

	if (e != NULL) {
		free(key);
		free(e->value);
		e->value = value;
		return NULL;
	}
	if (ini->count == ini->capacity) {
		size_t capacity = ini->capacity == 0 ? 8 : ini->capacity * 2;
		struct entry *entries = realloc(ini->entries, capacity * sizeof(*entries));

		if (entries == NULL)
			goto out_of_memory;
		ini->entries = entries;
		ini->capacity = capacity;
	}
	name = strdup(section);
	if (name == NULL)
		goto out_of_memory;
	ini->entries[ini->count++] = (struct entry){name, key, value};
	return NULL;

out_of_memory:
	free(key);
	free(value);
	return "out of memory";
}

/* Reads one line. Returns a message when it is wrong. */
static const char *parse_line(struct ini *ini, char **section, struct span line)
{
	const char *message = NULL, *equals;
	char *key, *value;

	line = trim(line);
	if (line.start == line.end || *line.start == ';' || *line.start == '#')
		return NULL;
	if (memchr(line.start, '\0', (size_t)(line.end - line.start)) != NULL)
		return "a zero byte";
	if (*line.start == '[') {
		if (line.end[-1] != ']')
			return "missing ] after the section's name";
		free(*section);
		*section = copy(trim((struct span){line.start + 1, line.end - 1}));
		return *section == NULL ? "out of memory" : NULL;
	}
	equals = memchr(line.start, '=', (size_t)(line.end - line.start));
	if (equals == NULL)
		return "neither a section nor a key with a value";
	if (equals == line.start)
		return "missing key before =";
	value = unquote(trim((struct span){equals + 1, line.end}), &message);
	if (value == NULL)
		return message;
	key = copy(trim((struct span){line.start, equals}));
	if (key == NULL) {
		free(value);
		return "out of memory";
	}
	return add(ini, *section, key, value);
}

struct ini *ini_parse(const char *text, size_t size, struct ini_error *error)
{
	struct ini *ini = calloc(1, sizeof(*ini));
	char *section = strdup("");
	const char *end = text + size, *message = NULL;
	size_t number = 0;

	if (ini == NULL || section == NULL)
		message = "out of memory";
	while (message == NULL && text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		number++;
		message = parse_line(ini, &section, (struct span){text, newline == NULL ? end : newline});
		text = newline == NULL ? end : newline + 1;
	}
	free(section);
	if (message == NULL)
		return ini;
	if (error != NULL)
		*error = (struct ini_error){number, message};
	ini_free(ini);
	return NULL;
}

void ini_free(struct ini *ini)
{
	if (ini == NULL)
		return;
	for (size_t i = 0; i < ini->count; i++) {
		free(ini->entries[i].section);
		free(ini->entries[i].key);
		free(ini->entries[i].value);
	}
	free(ini->entries);
	free(ini);
}

const char *ini_get(const struct ini *ini, const char *section, const char *key)
{
	const struct entry *e = find(ini, section, key);

	return e == NULL ? NULL : e->value;
}

int ini_get_long(const struct ini *ini, const char *section, const char *key, long *number)
{
	const char *value = ini_get(ini, section, key);
	char *end;
	long parsed;

	if (value == NULL || *value == '\0')
		return 0;
	errno = 0;
	parsed = strtol(value, &end, 10);
	if (errno != 0 || *end != '\0')
		return 0;
	*number = parsed;
	return 1;
}

size_t ini_size(const struct ini *ini)
{
	return ini->count;
}
