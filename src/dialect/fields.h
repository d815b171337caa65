/* dialect/fields.h -- what the readers and writers of JSON dialects with nested objects share (anthropic*, bedrock*).
 *
 * Reading: an object is walked once against a table of names. What the table does not know goes to `rest` under its dotted
 * path from the struct's own level ("thinking.display"), so that the writer of the same dialect finds the object it belongs
 * to, and a warning names the field as a person would. A place is a list on the stack, spelled only when it is needed. */
#ifndef SBX_DIALECT_FIELDS_H
#define SBX_DIALECT_FIELDS_H

#include "dialect/dialect.h"

struct spot { const struct spot *up; const char *key; uint32_t index; };    /* key NULL: item `index` of its array */
#define AT(up, key) (&(struct spot){ (up), (key), 0 })
#define AT_ITEM(up, index) (&(struct spot){ (up), NULL, (index) })

struct reading { struct arena *a; const struct json *j; struct err *e; };

/* Nodes of the named members, JSON_NONE where absent or null; the last of duplicates. rest NULL: others are left out. */
void fields_get(const struct reading *f, jref object, const str *names, size_t n, jref *out, struct members *rest, str prefix);
/* The same with those of the names whose bit is set in `which`; at most 64. */
void fields_get_of(const struct reading *f, jref object, const str *names, size_t n, uint64_t which, jref *out,
                   struct members *rest, str prefix);
/* -1 and "messages[3].content: expected a string, got a number"; JSON_NONE: "..., but it is missing". */
int fields_wrong(const struct reading *f, const struct spot *at, jref n, const char *expected);
int fields_fail(const struct reading *f, const struct spot *at, const char *what);    /* -1 and "place: what" */
/* 0, and *out untouched when n is JSON_NONE; -1: the wrong kind. */
int fields_str(const struct reading *f, const struct spot *at, jref n, str *out);
int fields_int(const struct reading *f, const struct spot *at, jref n, int64_t *out);
int fields_double(const struct reading *f, const struct spot *at, jref n, double *out);
int fields_bool(const struct reading *f, const struct spot *at, jref n, bool *out);
int fields_flag(const struct reading *f, const struct spot *at, jref n, int *out);      /* 0 or 1 */
int fields_kind(const struct reading *f, const struct spot *at, jref n, enum json_kind kind);   /* absent is fine */
int fields_need(const struct reading *f, const struct spot *at, jref n, enum json_kind kind);
str fields_raw(const struct reading *f, jref n);             /* "" when absent */
str fields_compact(const struct reading *f, jref n);         /* without white space; "" when absent */

/* The members of `rest` below `prefix` ("thinking"), or with prefix "" those below none of `nested`. */
void rest_write(struct json_writer *w, const struct members *rest, str prefix, const str *nested, size_t n_nested);
bool rest_has(const struct members *rest, str prefix);      /* "thinking": one below it */
const struct member *rest_find(const struct members *rest, str key);

/* A named event whose data is one object: the caller goes on with members. */
struct json_writer event_begin(str name, struct buf *out);
void event_end(struct json_writer *w);

/* ---- what a loss is called in the client's own dialect ---- */

enum knob {
    KNOB_N, KNOB_SEED, KNOB_LOGPROBS, KNOB_TOP_LOGPROBS, KNOB_PRESENCE, KNOB_FREQUENCY, KNOB_TEMPERATURE, KNOB_TOP_P,
    KNOB_TOP_K, KNOB_STOP, KNOB_MAX_TOKENS, KNOB_REASONING, KNOB_OUTPUT, KNOB_VERBOSITY, KNOB_USER, KNOB_CACHE_KEY,
    KNOB_SERVICE_TIER, KNOB_METADATA, KNOB_TOOL_CHOICE, KNOB_PARALLEL, KNOB_SYSTEM, KNOB_MESSAGES, KNOB_COUNT
};
str knob_name(const struct prompt *p, enum knob k);
/* "messages[3].content[1]", "contents[3].parts[1]", "input". */
str block_place(const struct prompt *p, struct arena *a, uint32_t turn, uint32_t block);
/* Losses that the Messages and Converse formats share: n > 1, seed, log probabilities, penalties; and those of OpenAI's
 * members in `rest` that change the answer (logit_bias, ...); other foreign members become warnings. 0 or -1. */
int prompt_lose_foreign(const struct prompt *p, const struct target *to, struct translation *t);

/* The stop sequences as an array under `key`, left out when there is none. A blank one, which the Messages and Converse
 * formats refuse, is dropped with a warning, unless the request speaks that format itself. */
void stop_sequences_write(struct json_writer *w, str key, const struct prompt *p, bool is_own, struct translation *t);

/* -1 and "PLACE: what": the request cannot be said there, whatever the configuration. */
int refuse_at(struct translation *t, str place, const char *what);

/* ---- turns ---- */

bool turn_is_system(const struct turn *t);                  /* or of the developer */
/* A text of white space alone, which APIs refuse. What will be lost is not blank: its writer tells of the loss. */
bool block_is_blank(const struct block *b);
bool turn_is_blank(const struct turn *t);
bool prompt_allows(const struct prompt *p, str tool);       /* false: not among those that the choice leaves */

/* ---- tools ---- */

/* A name or call id of 1 to max letters, digits and `also` ("_-"): itself, or a new one that is noted in t->renames. */
str translation_rename(struct translation *t, str from, size_t max, const char *also);
/* Arguments where an object is needed: "" -> {}, an object as it is, a custom tool's text -> {"input": text}.
 * False: neither. */
bool arguments_as_object(struct arena *a, const struct block *call, str *out);
/* A schema that says "type": "object". With `closes`: every object in it refuses further members unless it says otherwise. */
str schema_as_object(struct arena *a, str schema, bool closes);
/* Description of a function that stands for a custom tool; its schema is CUSTOM_TOOL_SCHEMA. */
str custom_tool_description(struct arena *a, const struct tool *tool);
#define CUSTOM_TOOL_SCHEMA \
    S("{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"]," \
      "\"additionalProperties\":false}")
/* "image/png" by the first characters of base64, "" unknown. */
str media_sniff(str base64);
bool text_is_blank(str s);
/* What OpenAI calls the tier that served an answer; "" : it has no word for it. */
str openai_service_tier(str tier);
/* base64 with the alphabet of URLs, or without padding, as everybody takes it: a copy when it has to be another text. */
str base64_standard(struct arena *a, str text);
/* Bytes of a base64 text of either alphabet, in the arena; white space and missing padding are forgiven. False: not base64. */
bool base64_read(struct arena *a, str text, str *out);
str  base64_write(struct arena *a, str bytes);
/* The line that asks for JSON where the format has no member for it. */
str output_instruction(struct arena *a, const struct prompt *p);

#endif
