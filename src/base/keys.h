/* base/keys.h -- short forms for the long tables of keys that are checked but kept nowhere.
 *
 * For tables of config/ and plugin/. Each line: key, default, bounds or names where there are any,
 * help, then further members of struct field. NONE: no default. */
#ifndef SBX_KEYS_H
#define SBX_KEYS_H

#include <math.h>

#include "base/field.h"

#define NONE NULL
#define KEY_TEXT(key_, default_, ...)     K(FIELD_STR, key_, default_, __VA_ARGS__)
#define KEY_BOOL(key_, default_, ...)     K(FIELD_BOOL, key_, default_, __VA_ARGS__)
#define KEY_SECRET(key_, ...)             K(FIELD_SECRET, key_, NULL, __VA_ARGS__)
#define KEY_STRINGS(key_, default_, ...)  K(FIELD_STRINGS, key_, default_, __VA_ARGS__)
#define KEY_TEXTS(key_, ...)              K(FIELD_STRING_MAP, key_, NULL, __VA_ARGS__)
#define KEY_VALUE(key_, ...)              K(FIELD_VALUE, key_, NULL, __VA_ARGS__)
#define KEY_INT(key_, default_, bounds_, ...) \
    K(FIELD_INT, key_, default_, __VA_ARGS__, bounds_)
#define KEY_FLOAT(key_, default_, bounds_, ...) \
    K(FIELD_FLOAT, key_, default_, __VA_ARGS__, bounds_)
#define KEY_ENUM(key_, default_, names_, ...) \
    K(FIELD_ENUM, key_, default_, __VA_ARGS__, .names = (names_))
#define KEY_MAP(key_, sub_, ...)          GROUP(key_, &(sub_), __VA_ARGS__)
#define KEY_LIST(key_, sub_, ...)         K(FIELD_LIST, key_, NULL, __VA_ARGS__, .sub = &(sub_))

/* WORDS(x, "a", "b") -> static const char *const x[] = { "a", "b", NULL } */
#define WORDS(name_, ...) static const char *const name_[] = { __VA_ARGS__, NULL }
/* LINES(x, line, line...) -> static const struct field x_keys[] */
#define LINES(name_, ...) static const struct field name_##_keys[] = { __VA_ARGS__ }
/* KEYS(x, line, line...) -> a table of keys without a struct */
#define KEYS(name_, ...) \
    LINES(name_, __VA_ARGS__); \
    static const struct fields name_ = { name_##_keys, COUNT_OF(name_##_keys), 0 }
/* TABLE(x, type, line, line...) -> the same for a struct */
#define TABLE(name_, type_, ...) \
    LINES(name_, __VA_ARGS__); \
    static const struct fields name_ = FIELDS(type_, name_##_keys)

#define BOUNDS(min_, max_) .min = (min_), .max = (max_)
#define POSITIVE BOUNDS(1, INFINITY)
#define NOT_NEGATIVE BOUNDS(0, INFINITY)
#define SHARE BOUNDS(0, 1)
#define PORT BOUNDS(0, 65535)

#endif
