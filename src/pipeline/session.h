/* pipeline/session.h -- which conversation a request belongs to, by whatever its client calls it.
 *
 * Agents and SDKs name their sessions in many places; the first that is there counts (spec 04, 4.9): the header
 * x-session-id (or the one the configuration names), x-claude-code-session-id, session-id (Codex), x-conversation-id, the
 * body's prompt_cache_key, its conversation, previous_response_id, and the session inside Anthropic's metadata.user_id. */
#ifndef SBX_SESSION_H
#define SBX_SESSION_H

#include "pipeline/req.h"

enum { SESSION_ID_MAX = 256 };      /* longer ones are cut */

/* "" : none. Found once, kept in the request. */
str session_id(struct req *r);

#endif
