/* pipeline/relay.h -- the answer on its way to the client.
 *
 * Bytes go out as they come in, one write per upstream read; what is read is only watched:
 * for usage, for the end, for errors. Nothing is buffered unless the client is slow, and then
 * the provider is slowed down. */
#ifndef SBX_RELAY_H
#define SBX_RELAY_H

#include "pipeline/attempt.h"

/* Sends the upstream's answer to the client. 0: complete. Negative: cut short (r->is_client_gone, or the upstream broke
 * and the client was told in its own way). */
WAITS int relay_run(struct req *r, struct answer *a);

/* An answer of our own: whole body. */
WAITS int relay_own(struct req *r, int status, str content_type, str body);
/* A text of our own as the answer the client asked for: chat or completion, whole or streamed. */
WAITS int relay_own_answer(struct req *r, str model, str text);
WAITS int relay_own_stream(struct req *r, str events);      /* all of an event stream at once */
/* r->fail as an error object of the client's dialect. */
WAITS int relay_fail(struct req *r);

/* Reads usage, finish reason and id out of a chat answer or a stream event's JSON. */
void usage_read(struct req *r, str json_text);

#endif
