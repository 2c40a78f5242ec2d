/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads INI files:
 *
 *     ; a comment, as is a line that begins with #
 *     [section]
 *     key = value
 *     text = "  spaces kept, \"escapes\" too \n"
 *
 * A key before the first section belongs to the section "". Keys and sections
 * are told apart by case. Of a key that stands twice, the last one counts.
 */
#ifndef INI_H
#define INI_H

#include <stddef.h>

struct ini;

/* What was wrong, and in which line, counted from 1. */
struct ini_error {
	size_t line;
	const char *message;
};

/*
 * Reads size bytes of text. Returns NULL when they are no INI file or memory
 * ran out, and says in *error why; error may be NULL. The text may go away
 * afterwards. Free the result with ini_free.
 */
struct ini *ini_parse(const char *text, size_t size, struct ini_error *error);

/* Frees what ini_parse returned. NULL is allowed. */
void ini_free(struct ini *ini);

/* The value of a key, or NULL where there is none. It lives as long as ini. */
const char *ini_get(const struct ini *ini, const char *section, const char *key);

/*
 * The value of a key as a decimal number. Returns 0 and leaves *number alone
 * where there is no such key or the value is not a number that fits.
 */
int ini_get_long(const struct ini *ini, const char *section, const char *key, long *number);

/* How many keys there are in all sections together. */
size_t ini_size(const struct ini *ini);

#endif
