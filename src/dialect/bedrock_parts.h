/* dialect/bedrock_parts.h -- what the files of the Converse dialect share: bedrock.c (streams, errors), bedrock_read.c,
 * bedrock_write.c. */
#ifndef SBX_DIALECT_BEDROCK_PARTS_H
#define SBX_DIALECT_BEDROCK_PARTS_H

#include "dialect/fields.h"

extern const struct dialect_ops dialect_bedrock;

int bedrock_request_read(struct arena *a, const struct json *j, const struct request_place *at, struct prompt *out,
                         struct err *e);
int bedrock_reply_read(struct arena *a, const struct json *j, struct reply *out, struct err *e);
void bedrock_usage_read(const struct reading *f, jref n, struct usage *u);
enum stop_reason bedrock_stop_read(str word);

int bedrock_request_write(const struct prompt *p, const struct target *to, struct translation *t, struct buf *out);
void bedrock_reply_write(const struct reply *r, const struct answer_context *c, struct buf *out);
void bedrock_usage_write(struct json_writer *w, const struct usage *u);
str bedrock_stop_name(enum stop_reason stop);

/* Formats of images, audio and documents, which Converse names instead of media types. */
str bedrock_format(enum block_kind kind, const struct media *m);        /* "" : none that it knows */
str bedrock_media_type(enum block_kind kind, str format);

#define BEDROCK_ERROR_HEADER "x-amzn-errortype"
void bedrock_error_named(str word, struct failure *out);    /* "ThrottlingException:http://..." of that header */

#endif
