/* SPDX-License-Identifier: Apache-2.0 */

#include "ini.h"

#include <stdio.h>
#include <string.h>

static int checks, failures;

#define CHECK(condition)                                                        \
	do {                                                                    \
		checks++;                                                       \
		if (!(condition)) {                                             \
			failures++;                                             \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);  \
		}                                                               \
	} while (0)

static struct ini *parse(const char *text, struct ini_error *error)
{
	return ini_parse(text, strlen(text), error);
}

static int is(const struct ini *ini, const char *section, const char *key, const char *want)
{
	const char *got = ini_get(ini, section, key);

	return got != NULL && strcmp(got, want) == 0;
}

static void test_values(void)
{
	struct ini *ini = parse("top = 1\n"
				"; comment\n"
				"[ server ]\r\n"
				"host=example.org\r\n"
				"port = 8080\n"
				"greeting = \"  Hello,\\t\\\"you\\\"\\n\"\n"
				"empty =\n"
				"host = example.net",
				NULL);

	CHECK(ini != NULL);
	CHECK(ini_size(ini) == 5);
	CHECK(is(ini, "", "top", "1"));
	CHECK(is(ini, "server", "host", "example.net"));
	CHECK(is(ini, "server", "greeting", "  Hello,\t\"you\"\n"));
	CHECK(is(ini, "server", "empty", ""));
	CHECK(ini_get(ini, "server", "absent") == NULL);
	CHECK(ini_get(ini, "Server", "host") == NULL);
	ini_free(ini);
}

static void test_numbers(void)
{
	struct ini *ini = parse("a = 42\nb = -7\nc = 12x\nd = 99999999999999999999\ne =\n", NULL);
	long n = 5;

	CHECK(ini != NULL);
	CHECK(ini_get_long(ini, "", "a", &n) && n == 42);
	CHECK(ini_get_long(ini, "", "b", &n) && n == -7);
	CHECK(!ini_get_long(ini, "", "c", &n) && n == -7);
	CHECK(!ini_get_long(ini, "", "d", &n));
	CHECK(!ini_get_long(ini, "", "e", &n));
	CHECK(!ini_get_long(ini, "", "f", &n));
	ini_free(ini);
}

static void test_errors(void)
{
	static const struct {
		const char *text;
		size_t line;
	} cases[] = {
		{"[open\n", 1},
		{"a = 1\nrubbish\n", 2},
		{"= 1\n", 1},
		{"a = \"open\n", 1},
		{"a = \"x\" y\n", 1},
		{"\n\na = \"\\q\"\n", 3},
		{"a = \"\\\n", 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ini_error error = {0};

		CHECK(parse(cases[i].text, &error) == NULL);
		CHECK(error.line == cases[i].line);
		CHECK(error.message != NULL);
	}
	CHECK(ini_parse("a = \0b\n", 7, NULL) == NULL);
}

static void test_many(void)
{
	static char text[64 * 1024];
	size_t size = 0;
	struct ini *ini;
	long n = 0;

	for (int i = 0; i < 1000; i++)
		size += (size_t)snprintf(text + size, sizeof(text) - size, "[s%d]\nkey = %d\n", i, i);
	ini = ini_parse(text, size, NULL);
	CHECK(ini != NULL);
	CHECK(ini_size(ini) == 1000);
	CHECK(ini_get_long(ini, "s999", "key", &n) && n == 999);
	ini_free(ini);
	ini_free(NULL);
}

int main(void)
{
	test_values();
	test_numbers();
	test_errors();
	test_many();
	printf("%d checks, %d failures\n", checks, failures);
	return failures != 0;
}
